# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Reconstructed images, embeddings and subsets of modalities: what the panels hold, files that are not blank."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from monai_mmseg.evaluation import modality_subsets
from monai_mmseg.visualize import (
    EmbeddingPanel,
    SubsetBlock,
    cross_reconstruction_figure,
    embedding_figure,
    save_figure,
    subset_figure,
)

GENERATOR = np.random.default_rng(0)
NAMES = ["t1", "t2_$x^$", "flair"]


def saved(figure, tmp_path):
    """Standard deviation of the grey values of the saved picture."""
    path = save_figure(figure, tmp_path / "a.png", dpi=60)
    return mpl.image.imread(path)[..., :3].std()


def test_rows_are_anatomies_and_columns_what_is_drawn(tmp_path):
    images = {name: GENERATOR.random((12, 10)) * (at + 1) for at, name in enumerate(NAMES)}
    drawings = {(a, b): GENERATOR.random((12, 10)) for a in ("flair", "t1", "all others") for b in NAMES}
    del drawings["t1", "flair"]
    figure = cross_reconstruction_figure(images, drawings, notes={("t1", "t1"): "20.0 / 0.5"}, title="a")
    grid = np.array(figure.axes).reshape(4, 3)
    assert [axes.get_title() for axes in grid[0]] == ["t1", r"t2_\$x^\$", "flair"]
    for column, target in enumerate(NAMES):
        np.testing.assert_array_equal(grid[0, column].images[0].get_array(), images[target])
        for row, source in enumerate(("t1", "flair", "all others"), start=1):  # modalities in the order of the columns
            shown = grid[row, column].images
            if (source, target) == ("t1", "flair"):
                assert not shown
                assert grid[row, column].texts[0].get_text() == "not there"
            else:
                np.testing.assert_array_equal(shown[0].get_array(), drawings[source, target])
                assert shown[0].get_clim() == grid[0, column].images[0].get_clim()
    assert saved(figure, tmp_path) > 0.05


def test_a_modality_that_is_not_there_is_drawn_all_the_same(tmp_path):
    figure = cross_reconstruction_figure({"t1": np.eye(8)}, {("t1", "t1"): np.eye(8), ("t1", "t2"): 1 - np.eye(8)})
    assert [len(axes.images) for axes in figure.axes] == [1, 0, 1, 1]
    assert saved(figure, tmp_path) > 0.05


def test_drawings_are_needed_in_two_dimensions():
    with pytest.raises(ValueError, match="at least one, got none"):
        cross_reconstruction_figure({"t1": np.eye(8)}, {})
    with pytest.raises(ValueError, match=r"shape \(H, W\), got \[\(1, 8, 8\)\]"):
        cross_reconstruction_figure({}, {("t1", "t1"): np.zeros((1, 8, 8))})


def test_every_point_is_drawn_once_in_the_colour_of_its_group(tmp_path):
    points = GENERATOR.random((30, 2))
    colors, markers = [NAMES[row % 3] for row in range(30)], [f"s{row // 3}" for row in range(30)]
    panels = [
        EmbeddingPanel("z", points, colors, notes=["silhouette 0.5"]),
        EmbeddingPanel("s", points, markers, colors),
    ]
    figure = embedding_figure(panels, title="Latent")
    first, second = figure.axes
    assert len(first.collections) == 3
    assert len({tuple(found.get_facecolor()[0]) for found in first.collections}) == 3
    assert len(second.collections) == 30  # subject x modality
    drawn = np.concatenate([np.asarray(found.get_offsets()) for found in second.collections])
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(points, 0))
    assert first.get_xlabel() == "silhouette 0.5"
    assert len(second.get_legend().get_texts()) == 13  # ten subjects and three modalities
    assert saved(figure, tmp_path) > 0.02


def test_long_legends_are_cut():
    points = GENERATOR.random((40, 2))
    figure = embedding_figure([EmbeddingPanel("s", points, [f"s{row:02d}" for row in range(40)])])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()][-1] == "and 24 more"


def test_groups_must_fit_the_points():
    with pytest.raises(ValueError, match=r"panel 'z' must have points \(N, 2\) and a group for each"):
        embedding_figure([EmbeddingPanel("z", np.zeros((3, 2)), ["a"])])
    with pytest.raises(ValueError, match="at least one, got none"):
        embedding_figure([])


def columns(start, step, count=7):
    return {subset: start + step * at for at, subset in enumerate(modality_subsets(NAMES)[:count])}


def test_heat_map_is_light_where_it_is_better(tmp_path):
    blocks = [
        SubsetBlock("Dice", {"mean": columns(0.9, -0.1)}, least=0.1),
        SubsetBlock("HD95 [mm]", {"mean": columns(2.0, 1.0)}, higher=False, digits=1),
    ]
    figure = subset_figure(NAMES, blocks, title="Subsets")
    dots, dice, distance = figure.axes
    # three, three times two, three times one, out of seven rows of three
    assert [len(found.get_offsets()) for found in dots.collections] == [12, 9]
    for axes in (dice, distance):
        shade = np.asarray(axes.images[0].get_array())[:, 0]
        np.testing.assert_allclose(shade, np.linspace(1, 0, 7), atol=1e-9)
    assert [text.get_text() for text in dice.texts][:2] == ["0.900", "0.800"]
    assert distance.get_xlabel() == "HD95 [mm]"
    assert saved(figure, tmp_path) > 0.05


def test_what_hardly_differs_looks_alike():
    block = SubsetBlock("PSNR", {"": {("a",): 27.0, ("b",): 27.01}})
    shade = np.asarray(subset_figure(["a", "b"], [block]).axes[1].images[0].get_array())
    np.testing.assert_allclose(shade[:, 0], [0.495, 0.505], atol=1e-9)


def test_what_was_not_run_stays_empty():
    block = SubsetBlock("Dice", {"ours": columns(0.9, -0.1), "zero": columns(0.9, -0.1, 6)})
    figure = subset_figure(NAMES, [block])
    shade = np.asarray(figure.axes[1].images[0].get_array())
    assert np.isnan(shade).sum() == 1
    assert np.isnan(shade[6, 1])
    assert len(figure.axes[1].texts) == 13


def test_nothing_to_show():
    with pytest.raises(ValueError, match="at least one value, got none"):
        subset_figure(NAMES, [])
