# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from monai_mmseg.bundle.ranges import range_of

CASES = [  # name, values that can be meant, values that cannot
    ("max_epochs", [1, 750, np.int64(3)], [0, -1, 1.5, 3.0, True, "ten", None, math.nan, [1]]),
    ("epoch_length", [1, 200], [0, 1.5, "all"]),
    ("batch_size", [1], [0, 2.5]),
    ("num_slices", [1, 3, 7], [0, 2, -1, 1.0]),
    ("num_workers", [0, 4], [-1, 0.5, "2"]),
    ("seed", [0, 10], [-1, "ten", True]),
    ("fold", [0, [0, 1]], [-1, 0.5, "a", [0, -1], []]),
    ("patience", [0, 60], [-1, 2.5]),
    ("pixdim", [[1.0, 1.0], [1, 1, 8.0]], [[0.0, 1.0], [-1, 1], [math.nan, 1], [math.inf, 1], 1.0, "[1, 1]", []]),
    ("spatial_size", [[64, 64]], [[64, 0], [64.0, 64], 64, "64,64", [-1, 64]]),
    ("features", [[8, 16]], [[8, 0], [8, "a"], 8]),
    ("learning_rate", [1e-4, 1], [0, -1e-3, math.nan, math.inf, "1e-4"]),
    ("discriminator_learning_rate", [1e-4], [0]),
    ("kd_weight", [0, 0.5], [-0.5, "ten", math.nan]),
    ("loss_weights", [{"generator": {"kl": 0.1}}, {}], [{"generator": {"kl": -1}}, {"kl": "a"}]),
    ("class_weights", [[1.0, 5.0]], [[-1.0], 1.0]),
    ("dropout", [0, 0.25], [1, 1.5, -0.1, "a"]),
    ("overlap", [0.5, [0, 0, 0.5]], [1.0, [0, 1]]),
    ("target_fraction", [0, 0.125, 1], [-0.1, 1.1, 25, True]),
    ("flip_prob", [0.5], [1.5]),
    ("lr_decay", [0.95, 1], [0, 1.1]),
    ("lr_hold", [0, 1.0], [2]),
    ("intensity_percentiles", [[0, 100], [0.5, 99.5]], [[99.5, 0.5], [5, 5], [-1, 50], [0, 101], [50], 50]),
    ("ct_window", [[-160, 240]], [[240, -160], [0, 0], [0], "soft"]),
    ("temperature", [2.0], [0, -1]),
    ("section", ["training", "validation", "test"], ["tset", "Test", 1]),
    ("clip_norm", [1.0, {"generator": 1.0}], [0, {"generator": 0}]),
]


@pytest.mark.parametrize(("name", "right", "wrong"), CASES, ids=[name for name, _, _ in CASES])
def test_what_a_setting_takes(name, right, wrong):
    meant = range_of(name)
    assert [value for value in right if not meant.takes(value)] == []
    assert [value for value in wrong if meant.takes(value)] == []


def test_other_names_are_not_in_the_table():
    assert range_of("modalities") is None
    assert range_of("my_features_list") is None
