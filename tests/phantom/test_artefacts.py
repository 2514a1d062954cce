# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Artefacts of outlier cases."""

import numpy as np
import pytest

from monai_mmseg.phantom.artefacts import ARTEFACTS, blur_motion, ghosts, metal_streaks, scan
from monai_mmseg.phantom.ct_mr_tables import ABDOMEN_TABLES
from monai_mmseg.phantom.grid import oblique_grid

GRID = oblique_grid([0, 0, 0], np.eye(3), [4, 4, 6], [64, 48, 20])


@pytest.fixture
def signal():
    body = np.zeros(GRID.shape, np.float32)
    body[16:48, 12:36] = 0.6
    return body


def rng():
    return np.random.default_rng(2)


@pytest.mark.parametrize(("modality", "artefact"), [(m, a) for m, names in ARTEFACTS.items() for a in names])
def test_every_artefact_spoils_the_image(signal, modality, artefact):
    table = ABDOMEN_TABLES[modality]
    clean = scan(rng(), modality, signal, GRID, table).astype(float)
    spoilt = scan(rng(), modality, signal, GRID, table, artefact=artefact).astype(float)
    assert spoilt.shape == clean.shape
    assert np.sqrt(np.mean((spoilt - clean) ** 2)) > 0.3 * clean[20:40, 16:30].std()


def test_metal_is_bright_dark_and_local(signal):
    added = metal_streaks(rng(), GRID.shape, GRID.spacing, (31.5, 23.5, 9.5))
    middle = added[..., 9]
    assert middle.max() > 1  # more than 1000 HU
    assert middle[31:33, 23:25].max() < -0.3  # dark between the screws
    assert np.abs(added[..., 0]).mean() < 0.6 * np.abs(middle).mean()
    image = scan(rng(), "ct", signal, GRID, ABDOMEN_TABLES["ct"], artefact="metal", metal=(0, 0, 0))
    assert image.max() > 1000
    peak = np.unravel_index(image.argmax(), image.shape)
    assert abs(GRID.affine[:3] @ [*peak, 1])[1] < 12  # at the place in the patient


def test_motion_doubles_contours(signal):
    blurred = blur_motion(rng(), signal, GRID.spacing)
    levels = np.unique(blurred.round(3))
    np.testing.assert_allclose(levels, [0, 0.21, 0.39, 0.6], atol=1e-3)  # 0.35 and 0.65 of 0.6


def test_ghosts_run_along_the_second_axis_only(signal):
    ghosted = ghosts(rng(), signal)
    assert (ghosted >= 0).all()
    assert ghosted[:14].max() < 1e-5
    assert ghosted[20:44, :8].mean() > 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modality": "pet"}, r"modality must be one of \['ct', 'mr'\], got 'pet'"),
        ({"modality": "mr", "artefact": "metal"}, r"artefact must be one of \['ghosts', .*\] for mr, got 'metal'"),
    ],
)
def test_errors(signal, arguments, message):
    modality = arguments.pop("modality")
    with pytest.raises(ValueError, match=message):
        scan(rng(), modality, signal, GRID, ABDOMEN_TABLES["ct"], **arguments)
