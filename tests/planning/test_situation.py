# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which situation, which method, and what is refused."""

from __future__ import annotations

import pytest

from monai_mmseg.planning import METHODS, PlanError, choose_method, find_situation, possible_methods
from tests.planning.facts import fingerprint_of, paired, unpaired

RANDOM = "unet_randomised"
THREE = fingerprint_of({"a": ("ct",), "b": ("mr",), "c": ("pet",)}, bare=("mr",))
GAPS = fingerprint_of({"a": ("t1", "t2"), "b": ("t1", "t2"), "c": ("t2",)})
SCANNERS = fingerprint_of({f"{name}{i}": (name,) for name in "xyz" for i in range(2)})
CASES = [
    ("one modality", fingerprint_of({"a": ("ct",), "b": ("ct",)}), {}, "one modality", "unet"),
    ("ct and mr", unpaired(), {}, "unpaired", "ummkd"),
    ("scanners", SCANNERS, {}, "unpaired", "csa"),
    ("mr of others without labels", unpaired(bare=("mr",)), {}, "unpaired", RANDOM),
    ("one of three without", THREE, {}, "unpaired", RANDOM),
    ("moved, labels in both", paired(offset=6.0), {}, "paired, misaligned", "csa"),
    ("moved, labels in one", paired(offset=6.0, bare=("t2",)), {}, "paired, misaligned", RANDOM),
    ("never meet", paired(offset=None, bare=("t1",)), {}, "paired, misaligned", RANDOM),
    ("registered", paired(), {}, "registered, complete", "unet"),
    ("registered, t1 may lack", paired(), {"may_lack": ["t1"]}, "registered, with gaps", "unet"),
    ("gaps", GAPS, {}, "registered, with gaps", "unet"),
]


@pytest.mark.parametrize(("found", "given", "name", "method"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_situation_and_method(found, given, name, method):
    situation = find_situation(found, **given)
    ct = "ct" in situation.modalities
    assert (situation.name, choose_method(situation, volumes=(False, "thick"), ct=ct)[0]) == (name, method)


def test_without_labels_of_others_it_says_what_it_cannot():
    _, reason = choose_method(find_situation(THREE), volumes=(False, "thick"), ct=True)
    assert "learns ct and pet in random contrasts. Chosen and validated without labels of mr" in reason
    assert "four or more labels of mr (then ummkd)" in reason


def test_volumes_where_they_pay():
    assert choose_method(find_situation(unpaired()), volumes=(True, "cubes"), ct=True)[0] == "ummkd_3d"


def test_who_lends_its_masks():
    """Only to a target that is not aligned and trains on no label of its own."""
    assert find_situation(paired(offset=6.0, bare=("t1",))).lender == "t2"
    assert find_situation(paired(offset=6.0)).lender == ""
    assert find_situation(paired(bare=("t1",))).lender == ""
    assert find_situation(unpaired(bare=("mr",))).lender == ""
    held = paired(offset=6.0, bare=("t1",))
    held["subjects"][1]["labelled"] = []
    assert find_situation(held, target="t2").lender == ""  # its only labels watch, and t1 has none to lend


def test_target_is_what_has_no_labels():
    assert find_situation(paired(offset=6.0, bare=("t1",))).target == "t1"
    assert find_situation(paired(offset=6.0)).target == "t2"
    assert find_situation(paired(offset=6.0), target="t1").target == "t1"


def test_missing_ones_are_named():
    situation = find_situation(GAPS, may_lack=["t2"])
    assert (situation.missing, situation.may_lack) == (["t1"], ["t2"])
    assert situation.facts["gaps"] == "missing in training: t1 of 1 subjects; may be missing later: t2"


def test_classes_that_a_modality_never_shows():
    found = unpaired()
    for one in found["images"]:
        if one["modality"] == "mr":
            one["label_voxels"] = {"liver": 5, "spleen": 0}
    assert find_situation(found).facts["classes"] == "mr never shows spleen"


def test_labels_that_show_other_classes():
    found = paired(offset=6.0)
    for one in found["images"][:1]:
        del one["label_voxels"]["spleen"]
    situation = find_situation(found)
    assert situation.partly == ("spleen",)
    assert situation.facts["classes"].startswith("spleen is not annotated in 1 of ")
    with pytest.raises(PlanError, match=r"labels differ in the classes that they show \(spleen\)"):
        choose_method(situation, "dafnet", volumes=(False, "thick"), ct=True)


@pytest.mark.parametrize(
    ("found", "method", "message"),
    [
        (unpaired(bare=("mr",)), "ummkd", "ummkd cannot be trained .* mr has none; possible: unet_randomised"),
        (fingerprint_of({"a": ("ct",)}), "unet_randomised", "there is one modality, ct; possible: unet"),
        (paired(offset=6.0, bare=("t2",)), "ummkd", r"ummkd cannot be trained .* t2 has none; possible: dafnet"),
        (
            paired(offset=6.0),
            "dafnet_pretrained",
            "dafnet_pretrained cannot be trained .*: labels of t2 train; possible: ",
        ),
        (paired(offset=6.0), "unet", "unet cannot be trained .* not aligned"),
        (unpaired(), "disentangle", "hardly any subject has several modalities"),
        (unpaired(), "nnunet", "method must be one of unet"),
    ],
)
def test_what_is_refused(found, method, message):
    with pytest.raises(PlanError, match=message):
        choose_method(find_situation(found), method, volumes=(False, "thick"), ct=True)


def test_labels_of_which_none_watches():
    found = paired(offset=6.0)
    for number, one in enumerate(found["subjects"]):
        one["fold"], one["labelled"] = number, ["t1", "t2"] if number else ["t2"]
    situation = find_situation(found, target="t1")
    assert (situation.unwatched, situation.asked) == (("t1",), True)
    assert (find_situation(paired()).unwatched, find_situation(paired()).asked) == ((), False)


def test_labels_that_are_all_held_out_are_refused_before_a_training_is():
    found = unpaired()
    for one in found["subjects"]:
        one["fold"] = int("mr" not in one["images"])
    situation = find_situation(found)
    with pytest.raises(PlanError, match="ummkd, as csa, cannot .* all labels of mr are in fold 0, which is held out"):
        choose_method(situation, volumes=(False, "thick"), ct=True)
    with pytest.raises(PlanError, match="ummkd cannot be trained .* fold 0"):
        choose_method(situation, "ummkd", volumes=(False, "thick"), ct=True)
    assert choose_method(situation, "unet_randomised", volumes=(False, "thick"), ct=True)[0] == "unet_randomised"


def test_a_misaligned_target_whose_labels_are_all_held_out_is_a_bare_one():
    found = paired(offset=6.0)
    for number, one in enumerate(found["subjects"]):
        one["fold"] = number
        one["labelled"] = ["t1", "t2"] if number == 0 else ["t2"]
    situation = find_situation(found)
    assert situation.target == "t1"
    method, reason = choose_method(situation, volumes=(False, "thick"), ct=False)
    assert method == RANDOM
    assert "t1 has no label that trains: a plain network learns t2 in random contrasts" in reason


@pytest.mark.parametrize(("labelled", "method"), [(0, RANDOM), (1, "csa"), (8, "csa")])
def test_a_misaligned_target_with_a_label_that_trains_learns_by_itself(labelled, method):
    """One label that trains is enough; one that only watches, of subject 0, does not count."""
    found = fingerprint_of({f"s{number}": ("cine", "lge") for number in range(12)}, offset=6.0)
    for number, one in enumerate(found["subjects"]):
        one["fold"], one["labelled"] = int(number > 0), ["cine", "lge"] if number <= labelled else ["cine"]
    chosen, reason = choose_method(find_situation(found), volumes=(False, "thick"), ct=False)
    assert chosen == method
    assert ("lge has no label that trains" in reason) is (method == RANDOM)


def test_a_target_that_is_asked_for_and_has_labels_needs_no_pretraining():
    found = paired(offset=6.0, bare=("t2",))
    chosen = [
        choose_method(find_situation(found, target=one), volumes=(False, "thick"), ct=False)[0] for one in ("t1", "t2")
    ]
    assert chosen == ["dafnet", RANDOM]


def test_few_labels_that_are_enough_are_told():
    found = fingerprint_of({f"s{number}": ("cine", "lge") for number in range(12)}, offset=6.0)
    for number, one in enumerate(found["subjects"]):
        one["fold"], one["labelled"] = 1, ["cine", "lge"] if number < 3 else ["cine"]
    method, reason = choose_method(find_situation(found), volumes=(False, "thick"), ct=False)
    assert method == "csa"
    assert reason.startswith(
        "not aligned, few labels of lge, of which one did more than borrowed on phantoms, labels in 12 of 12 cine and "
        "3 of 12 lge: class affinities"
    )


def with_labels_of(numbers):
    """Six patients with CT, all labelled, and six with MR, of which these numbers have a label; three folds."""
    found = fingerprint_of({f"{name}{number}": (name,) for name in ("ct", "mr") for number in range(6)})
    for place, one in enumerate(found["subjects"]):
        one["fold"] = place % 3
        if one["images"] == ["mr"] and place - 6 not in numbers:
            one["labelled"] = []
    return found


def test_partly_labelled_modalities_are_counted():
    situation = find_situation(with_labels_of((1, 3)))  # in folds 1 and 0
    for volumes, ct, name in ((False, True, "ummkd"), (True, True, "ummkd_3d"), (False, False, "csa")):
        method, reason = choose_method(situation, volumes=(volumes, "thick"), ct=ct)
        assert method == name
        assert ", labels in 6 of 6 ct and 2 of 6 mr" in reason
        assert reason.endswith("for thick; images without a label are not used")
    assert choose_method(situation, "csa", volumes=(False, "thick"), ct=True)[1] == (
        "asked for; images without a label are not used"
    )
    _, reason = choose_method(find_situation(with_labels_of(range(6))), volumes=(False, "thick"), ct=True)
    assert reason == "unpaired with CT, labels in all modalities; slices, for thick"


def test_a_modality_that_nothing_watches_is_told():
    _, reason = choose_method(find_situation(with_labels_of((1,))), volumes=(False, "thick"), ct=True)
    assert reason.endswith(
        "labels in 6 of 6 ct and 1 of 6 mr; slices, for thick; images without a label are not used; no label of mr is "
        "in fold 0, which validates: nothing watches it, validation sees ct alone"
    )


def test_subjects_without_a_label_are_not_used_by_a_plain_network():
    found = fingerprint_of({f"s{number}": ("ct",) for number in range(4)})
    assert "not used" not in choose_method(find_situation(found), volumes=(False, "thick"), ct=True)[1]
    found["subjects"][3]["labelled"] = []
    _, reason = choose_method(find_situation(found), volumes=(False, "thick"), ct=True)
    assert reason.endswith("; 1 subject without a label is not used")
    shared = paired()  # one label serves the subject's images on its grid
    shared["subjects"][0]["labelled"] = ["t1"]
    assert "not used" not in choose_method(find_situation(shared), volumes=(False, "thick"), ct=False)[1]


def test_data_without_labels_and_unknown_modalities_are_refused():
    with pytest.raises(PlanError, match="no training image has a label"):
        find_situation(fingerprint_of({"a": ("ct",)}, bare=("ct",)))
    with pytest.raises(PlanError, match=r"'pet' is no modality with training images of by hand: \['ct', 'mr'\]"):
        find_situation(unpaired(), may_lack=["pet"])


def test_every_method_says_why_not():
    assert set(possible_methods(find_situation(unpaired()))) == set(METHODS)
