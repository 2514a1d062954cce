# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Every rule of the table, on data made by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.planning import RULES, Context, apply_rules, seconds_of
from monai_mmseg.planning.context import rounded_up
from monai_mmseg.planning.data_rules import is_ct, volumes_pay
from monai_mmseg.planning.situation import find_situation
from tests.planning.facts import context_of, fingerprint_of, paired, unpaired

ONE = fingerprint_of({"a": ("ct",), "b": ("ct",)})
GAPS = fingerprint_of({"a": ("t1", "t2"), "b": ("t1", "t2"), "c": ("t2",)})
EMPTY = paired()
for _one in EMPTY["intensity"].values():
    _one["image"].update({"p0.5": 0.0, "p50": 0.0})
PRETRAINED = context_of(paired(offset=6.0, bare=("t2",)), "dafnet_pretrained")
GREY = ["RandScaleIntensityd", "RandShiftIntensityd", "RandGaussianNoised"]


def decided(context: Context) -> dict[str, tuple]:
    """Knob to value and reason."""
    return {one.knob: (one.value, one.reason) for one in apply_rules(context)}


def value(context: Context, knob: str):
    return decided(context)[knob][0]


def reason(context: Context, knob: str) -> str:
    return decided(context)[knob][1]


def ummkd(**settings) -> Context:
    return context_of(unpaired(), "ummkd", **settings)


def asked(target):
    return replace(context_of(paired(), "disentangle"), situation=find_situation(paired(), target=target))


def unwatched():
    """One label of t1, not in the fold that watches."""
    found = paired(offset=6.0)
    for number, one in enumerate(found["subjects"]):
        one["fold"], one["labelled"] = number, ["t1", "t2"] if number == 1 else ["t2"]
    return replace(context_of(found, "dafnet"), situation=find_situation(found, target="t1"))


# one entry for each rule of the table: knob -> contexts and what they must give
EXPECTED = {
    "modalities": [(ummkd(), ["ct", "mr"])],
    "labels": [(ummkd(), {"0": "background", "1": "liver", "2": "spleen"})],
    "target": [
        (context_of(paired(offset=6.0, bare=("t1",)), "dafnet"), "t1"),
        (context_of(GAPS, "unet"), "t2"),
    ],
    "reference": [
        (context_of(GAPS, "disentangle"), "t2"),
        (context_of(paired(bare=("t1",)), "disentangle"), "t2"),
        (asked("t1"), "t1"),
        (asked("t2"), "t2"),
    ],
    "slice_axis": [
        (ummkd(), "auto"),
        (context_of(fingerprint_of({"a": ("ct",)}, spacing=[1.0, 1.0, 1.0], plane="coronal"), "unet"), "coronal"),
        (context_of(paired(), "unet"), "auto"),
        (context_of(paired(), "disentangle"), "axial"),  # one grid in a plane of the patient, as its first stage
    ],
    "pixdim": [
        (ummkd(), [1.0, 1.0]),
        (context_of(fingerprint_of({"a": ("ct",)}, spacing=[1.0, 1.0, 2.0]), "unet"), [1.0, 1.0, 2.0]),
        (context_of(paired(), "unet"), [1.0, 1.0, 8.0]),  # a stack has one grid
        (ummkd(budget=60.0), [2.0, 2.0]),  # 40 x 48 pixels of 16 slices: 664 steps in 51 s
    ],
    "spatial_size": [
        (ummkd(), [72, 96]),  # 40 and 60 mm in the middle, 15 mm around: 70 and 90
        (ummkd(budget=60.0), [40, 48]),
        (context_of(paired(offset=6.0), "dafnet", budget=36000.0), [80, 96]),  # multiples of 16
    ],
    "overlap": [
        (context_of(paired(), "disentangle"), [0.0, 0.0, 0.5]),
        (context_of(paired(), "unet"), 0.25),
        (context_of(paired(), "unet", device="cuda"), 0.5),
    ],
    "background": [(context_of(paired(), "unet"), None), (context_of(EMPTY, "unet"), 0.0)],
    "foreground_share": [(context_of(paired(), "unet"), 0.5)],
    "num_slices": [
        (ummkd(), 1),
        (context_of(fingerprint_of({"a": ("ct",), "b": ("mr",)}, spacing=[1.0, 1.0, 2.0]), "csa"), 3),
    ],
    "intensity_percentiles": [(context_of(paired(offset=6.0), "dafnet"), [0.5, 99.5])],
    "features": [
        (ummkd(), [16, 32, 64, 96]),
        (ummkd(device="cuda", memory=2e10), [32, 64, 128, 192]),
        (context_of(paired(offset=6.0), "dafnet"), [8, 16, 32, 64, 128]),
    ],
    "batch_size": [
        (ummkd(), 8),  # of each of two
        (ummkd(shrink=1), 4),
        (ummkd(memory=1e8), 4),
        (context_of(ONE, "unet"), 16),
        (context_of(paired(), "unet"), 16),
        (context_of(paired(), "unet", volumes=True), 2),
        (context_of(paired(), "disentangle"), 2),
    ],
    "layer_pairs": [
        (context_of(unpaired(), "csa"), [["downsamples.0", "downsamples.1"], ["downsamples.1", "bottleneck"]])
    ],
    "keep_slices": [(ummkd(), "all")],
    "tile_prob": [(context_of(unpaired(), "ummkd_3d"), 0.33)],
    "class_weights": [(context_of(paired(), "disentangle"), [1.0, 5.0, 5.0])],
    "drop_prob": [(context_of(GAPS, "unet"), 0.5)],
    "learning_rate": [(ummkd(), 0.003), (context_of(paired(offset=6.0), "dafnet"), 0.002)],
    "pretraining": [(PRETRAINED, 0.6)],
    "loss_weights#generator#randomised": [(PRETRAINED, 10.0)],
    "inference": [(PRETRAINED, "single")],
    "patience": [(context_of(paired(offset=6.0), "dafnet"), 40)],
    "validation_target": [(context_of(paired(offset=6.0, bare=("t2",)), "dafnet"), "t1"), (unwatched(), "t2")],
    "validation_modalities": [(context_of(paired(offset=6.0, bare=("t2",)), "dafnet"), ["t1"])],
}
ELSEWHERE = {  # looked at more closely below
    *("intensity", "backbone", "task_def", "augmentation", "train#augmentation", "appearance"),
    *("max_epochs", "epoch_length", "lr_decay", "lr_decay_steps", "val_interval"),
}


@pytest.mark.parametrize(
    ("knob", "context", "expected"), [(knob, *case) for knob, cases in EXPECTED.items() for case in cases]
)
def test_value(knob, context, expected):
    assert value(context, knob) == expected


def test_every_rule_has_a_test_and_says_what_it_reads():
    assert {rule.knob for rule in RULES} == set(EXPECTED) | ELSEWHERE
    assert all(rule.reads and rule.bases for rule in RULES)


@pytest.mark.parametrize("method", ["ummkd", "ummkd_3d", "csa", "unet_randomised"])
def test_every_reason_is_a_sentence(method):
    assert all(len(text) > 8 and not text.endswith(".") for _, text in decided(context_of(unpaired(), method)).values())


def test_ct_has_one_window_and_mr_its_own_percentiles():
    found, text = decided(ummkd())["intensity"]
    ct, mr = found["transforms"]["ct"], found["transforms"]["mr"]
    assert (ct["a_min"], ct["a_max"], ct["clip"]) == (-50.0, 250.0, True)
    assert (ct["b_min"], ct["b_max"]) == (-3.0, 3.0)  # mean 100, deviation 50
    assert [one["_target_"] for one in mr["transforms"]] == ["ScaleIntensityRangePercentilesd", "NormalizeIntensityd"]
    assert mr["transforms"][1]["nonzero"] is False
    assert "ct is in HU: -50 to 250" in text
    assert found["hounsfield"] == ["ct"]  # which a window from -50 does not show


def test_a_modality_without_labels_is_learned_from_random_contrasts_of_the_others():
    found = decided(context_of(unpaired(bare=("mr",)), "unet_randomised"))
    assert found["batch_size"][0] == 16  # all of CT
    assert "keep" not in found["appearance"][0][0]
    apart = decided(context_of(paired(offset=6.0, bare=("t2",)), "unet_randomised"))
    assert (apart["batch_size"][0], apart["appearance"][0][0]["keep"]) == (4, "range")
    assert found["appearance"][0][0]["_target_"].endswith("RandAppearanced")
    ct, mr = (found["intensity"][0]["transforms"][name] for name in ("ct", "mr"))
    assert ct == mr  # no window of HU, which MR has not
    assert "hounsfield" not in found["intensity"][0]
    assert "appearance" not in decided(ummkd())


@pytest.mark.parametrize("budget", [30, 120, 600, 7200])
def test_smaller_steps_of_random_contrasts_leave_voxels_as_they_are(budget):
    data = paired(offset=6.0, bare=("t2",))
    few, many = (value(context_of(data, method, budget=budget), "pixdim") for method in ("unet_randomised", "ummkd"))
    assert few == many  # as many samples in all


def test_an_empty_background_takes_no_part():
    data = unpaired()
    data["intensity"]["mr"]["image"].update({"p0.5": 0.0, "p50": 0.0})
    assert value(context_of(data, "ummkd"), "intensity")["transforms"]["mr"]["transforms"][1]["nonzero"] is True


def test_ct_that_is_not_in_hu_is_taken_for_what_it_is():
    data = unpaired()
    data["intensity"]["ct"]["image"].update({"p0.5": 24.0})
    assert not is_ct(context_of(data, "ummkd"), "ct")


def test_the_pretraining_is_that_of_the_overlay_which_the_studies_ran():
    overlay = json.loads((bundles_folder() / "dafnet/configs/settings/randomised_pretraining.json").read_text())
    del overlay["_desc_"]
    found = decided(PRETRAINED)
    assert {knob: found[knob][0] for knob in overlay} == overlay
    assert not overlay.keys() & decided(context_of(paired(offset=6.0, bare=("t2",)), "dafnet")).keys()


def test_images_without_labels_do_not_widen_what_is_seen():
    bare = context_of(paired(offset=6.0, bare=("t2",)), "dafnet", budget=36000.0)
    assert value(bare, "spatial_size") == value(
        context_of(paired(offset=6.0), "dafnet", budget=36000.0), "spatial_size"
    )


def test_network_pools_a_coarse_axis_later():
    found = value(context_of(fingerprint_of({"a": ("ct",), "b": ("mr",)}), "ummkd_3d"), "backbone")
    assert found["strides"][:2] == [[1, 1, 1], [2, 2, 1]]
    assert found["kernel_size"][0] == [3, 3, 1]
    assert found["upsample_kernel_size"] == found["strides"][1:]
    assert found["filters"] == "@features"


def test_a_stack_has_all_modalities_as_channels():
    assert value(context_of(paired(), "unet"), "task_def")["in_channels"] == "$len(@modalities)"
    volumes = context_of(paired(), "unet", budget=120.0, volumes=True)
    assert value(volumes, "task_def")["filters"][0] == 8  # few steps of volumes
    assert value(volumes, "task_def")["spatial_dims"] == 3
    assert value(context_of(paired(), "unet"), "task_def")["spatial_dims"] == 2
    assert value(context_of(paired(), "unet", budget=36000.0), "task_def")["filters"][0] == 16
    assert value(context_of(paired(), "disentangle"), "task_def")["in_channels"] == "@task_channels"


def test_augmentation_moves_images_with_labels_and_mirrors_nothing():
    steps = value(ummkd(), "augmentation")["transforms"]
    assert steps[0]["keys"] == ["image", "label"]
    assert steps[0]["mode"] == ["bilinear", "nearest"]
    assert all(one["keys"] == "image" for one in steps[1:])
    assert "RandFlipd" not in str(steps)


@pytest.mark.parametrize(
    ("data", "settings", "expected"),
    [
        (paired(), {}, ["RandFlipd", "RandAffineSlicesd", *GREY]),
        (EMPTY, {"volumes": True}, ["RandFlipd", "RandAffined", "RandScaleShiftForegroundd"]),
        (paired(labels={"0": "background", "1": "left kidney"}), {}, ["RandAffineSlicesd", *GREY]),
        (GAPS, {}, ["RandFlipd", "RandAffineSlicesd", *GREY]),
    ],
)
def test_augmentation_of_a_stack(data, settings, expected):
    steps = value(context_of(data, "unet", **settings), "augmentation")
    assert [one["_target_"].rpartition(".")[2] for one in steps] == expected


def test_drop_out_is_a_setting_of_its_own_where_modalities_may_be_missing():
    """Not a part of the augmentation, where no flag would switch it off and an overlay would add a second one."""
    assert "drop_prob" not in {rule.knob for rule in apply_rules(context_of(paired(), "unet"))}


def test_augmentation_of_disentangling():
    steps = value(context_of(paired(), "disentangle"), "train#augmentation")
    found = [one["_target_"].rpartition(".")[2] for one in steps]
    assert found == ["RandFlipd", "RandAffined", "RandScaleShiftForegroundd"]


def test_intensities_of_a_stack():
    assert value(context_of(paired(), "unet"), "intensity")["_target_"] == "NormalizeIntensityd"
    assert value(context_of(EMPTY, "unet"), "intensity")["_target_"].endswith("NormalizeForegroundd")
    ct_alone = value(context_of(ONE, "unet"), "intensity")
    assert (ct_alone["default_modality"], ct_alone["hounsfield"]) == ("ct", ["ct"])
    assert ct_alone["transforms"]["ct"]["a_min"] == -50.0  # one window for all


def test_epochs_fill_the_budget():
    measured = {"step": 0.5, "validation": 10.0, "start": 20.0, "memory": 0.0}
    context = ummkd(budget=3600.0, seconds=measured)
    knobs = {name: one[0] for name, one in decided(context).items()}
    checks = knobs["max_epochs"] // knobs["val_interval"]
    spent = 20 + 10 * checks + 0.5 * knobs["max_epochs"] * knobs["epoch_length"]
    assert 0.85 * 3600 < spent <= 3600
    assert knobs["lr_decay_steps"] == knobs["epoch_length"]
    assert knobs["lr_decay"] ** knobs["max_epochs"] == pytest.approx(0.055, rel=0.01)
    assert "(measured) in a budget of 60 min" in reason(context, "max_epochs")


def test_costly_validation_is_rare():
    measured = {"step": 0.5, "validation": 200.0, "start": 20.0, "memory": 0.0}
    found = ummkd(budget=3600.0, seconds=measured)
    assert value(found, "val_interval") == found.knobs["max_epochs"]  # once, of 8 % of an hour


def test_no_more_steps_than_help():
    measured = {"step": 0.01, "validation": 1.0, "start": 1.0, "memory": 0.0}
    context = ummkd(budget=2 * 86400.0, seconds=measured)
    knobs = {name: one[0] for name, one in decided(context).items()}
    assert knobs["max_epochs"] * knobs["epoch_length"] == 250_000


def test_volumes_pay_where_voxels_are_cubes_and_there_is_time():
    cubes = fingerprint_of({"a": ("ct",), "b": ("mr",)}, spacing=[1.0, 1.0, 2.0])
    assert volumes_pay(context_of(cubes, "ummkd", budget=2 * 86400.0))[0]
    few = "60 s are too few for 600 steps of volumes on this cpu"
    assert volumes_pay(context_of(cubes, "ummkd", budget=60.0)) == (False, few)
    assert volumes_pay(ummkd(budget=2 * 86400.0)) == (False, "slices are 8.0 times as far apart as pixels")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800)])
def test_budget(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["10", "ten minutes", "0m", "-1h"])
def test_budget_that_is_none(text):
    with pytest.raises(ValueError, match="budget must be a time such as 10m, 2h or 2d, got"):
        seconds_of(text)


@pytest.mark.parametrize(("size", "expected"), [(1, 32), (41, 48), (96, 96), (97, 112), (257, 288)])
def test_sizes_are_multiples(size, expected):
    assert rounded_up(size) == expected
    assert math.log2(expected / 3) >= 0


def test_slices_of_the_first_stage_of_disentangling_can_be_halved_five_times():
    assert [edge % 32 for edge in value(context_of(paired(), "disentangle"), "spatial_size")[:2]] == [0, 0]


@pytest.mark.parametrize(("method", "size"), [("csa", [48, 56]), ("dafnet", [48, 64]), ("ummkd", [48, 56])])
def test_a_grid_that_is_given_is_made_whole_multiples_of_the_network(method, size):
    """The first method of a study says what all others take; its multiples may be too small for theirs."""
    context = context_of(paired(offset=6.0), method, grid=(2.8, [48, 56]))
    assert (value(context, "pixdim")[:2], value(context, "spatial_size")) == ([2.8, 2.8], size)
