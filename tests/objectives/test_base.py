# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from monai_mmseg.objectives import Objective, weighted_sum
from tests.engines.toy import ToyNetwork, ToyObjective


def test_weighted_sum_and_its_gradient():
    terms = {"a": torch.tensor(2.0, requires_grad=True), "b": torch.tensor(3.0, requires_grad=True)}
    total = weighted_sum(terms, {"b": 10, "a": 0.5})
    total.backward()
    assert total.item() == 31.0
    assert (terms["a"].grad.item(), terms["b"].grad.item()) == (0.5, 10.0)


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}])
def test_weighted_sum_refuses_other_names(weights):
    with pytest.raises(ValueError, match=r"they differ on \['[bc]'\]"):
        weighted_sum({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, weights)


def test_weighted_sum_refuses_terms_per_row():
    with pytest.raises(ValueError, match=r"'a' must be a scalar, got shape \(2,\)"):
        weighted_sum({"a": torch.ones(2)}, {"a": 1.0})


def test_weights_replace_defaults_and_leave_them_alone():
    objective = ToyObjective(ToyNetwork(), weights={"fit": {"adversarial": 0.0}})
    assert objective.weights == {"fit": {"supervised": 1.0, "adversarial": 0.0}, "critic": {"real": 1.0, "fake": 1.0}}
    assert ToyObjective.default_weights["fit"]["adversarial"] == 0.1


def test_misspelt_names_are_errors_with_the_closest_ones():
    with pytest.raises(ValueError, match="no phase 'crtic': did you mean critic"):
        ToyObjective(ToyNetwork(), weights={"crtic": {}})
    with pytest.raises(ValueError, match="'advresarial': did you mean adversarial"):
        ToyObjective(ToyNetwork(), weights={"fit": {"advresarial": 1.0}})


def test_subclass_must_name_its_phases():
    class Nothing(Objective):
        pass

    with pytest.raises(TypeError, match="Nothing must set phases"):
        Nothing(nn.Linear(1, 1))


def test_parameter_groups_are_a_partition_with_scaled_rates():
    objective = ToyObjective(ToyNetwork())
    groups = objective.parameter_groups("fit", 0.5, {"network.encoders": 0.1, "network.encoders.1": 2.0})
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates == {"fit": 0.5, "network.encoders": 0.05, "network.encoders.1": 1.0}
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in objective.parameters_of("fit"))
    assert {id(p) for p in groups[2]["params"]} == {id(p) for p in objective.network.encoders[1].parameters()}


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"network.encodrs": 0.1}, "did you mean network.encoders"),
        ({"critic": 0.1}, "no part of phase 'fit'"),
        ({"network.enc": 0.1}, "did you mean"),
        ({"network.shared": -1.0}, "must not be negative"),
    ],
)
def test_parameter_groups_refuse(scale, message):
    with pytest.raises(ValueError, match=message):
        ToyObjective(ToyNetwork()).parameter_groups("fit", 1.0, scale)
