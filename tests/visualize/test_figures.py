# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Every figure: the panels it promises, files that are not blank, and no text read as a formula."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.metrics import latent_traversal
from monai_mmseg.visualize import (
    LABEL_COLORS,
    AlignmentPair,
    Case,
    Thumbnail,
    alignment_figure,
    anatomy_figure,
    best_median_worst,
    contact_sheet,
    label_color,
    overlay_figure,
    read_for_display,
    save_figure,
    traversal_figure,
)
from monai_mmseg.visualize.alignment import checkerboard
from monai_mmseg.visualize.figure import (
    LABEL_STYLE,
    contours,
    display_window,
    fitted,
    focus,
    new_figure,
    panel,
    pick_slices,
)

LABELS = {0: "background", 1: "LV", 2: "myo_$x^$"}
GENERATOR = np.random.default_rng(0)


def picture(depth=None):
    shape = (24, 30) if depth is None else (24, 30, depth)
    label = np.zeros(shape, dtype=np.int64)
    label[8:16, 10:20] = 2
    label[10:14, 12:18] = 1
    return label + 0.1 * GENERATOR.standard_normal(shape), label


def saved(figure, tmp_path):
    """Standard deviation of the grey values of the saved picture, and its shape."""
    path = save_figure(figure, tmp_path / "new" / "a.png", dpi=60)
    pixels = mpl.image.imread(path)[..., :3]
    return pixels.std(), pixels


def drawn(figure):
    """Panels that hold an image or a line."""
    return [axes for axes in figure.axes if axes.images or axes.lines]


def test_overlay(tmp_path):
    image, label = picture(6)
    cases = [Case("a $1", image, label, np.roll(label, 2, 0), (1.5, 1.0)), Case("b", image[..., :2], label[..., :2])]
    figure = overlay_figure(cases, LABELS, slices=3, title="100 % & $5")
    assert len(figure.axes) == 2 * 2 * 3
    assert len(drawn(figure)) == 2 * 3 + 2 * 2
    contour_rows = [len(axes.collections) for axes in figure.axes[3:6]]
    assert contour_rows == [4, 4, 4]  # two classes, predicted and true
    spread, pixels = saved(figure, tmp_path)
    assert spread > 0.1
    assert pixels.shape[0] > 200
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["LV", r"myo_\$x^\$", "prediction", "label"]


def test_a_class_has_one_colour_and_two_styles():
    image, label = picture(1)
    figure = overlay_figure([Case("a", image, label, np.roll(label, 2, 0))], LABELS)
    (lower,) = [axes for axes in figure.axes if axes.collections]
    found = [
        (mpl.colors.to_hex(one.get_edgecolor()[0]).upper(), one.get_linestyle()[0][1]) for one in lower.collections
    ]
    dashes = [pytest.approx(1.4 * length) for length in LABEL_STYLE[1]]  # matplotlib counts in line widths
    assert [color for color, _ in found] == [label_color(2), label_color(1)] * 2
    assert [style for _, style in found] == [None, None, dashes, dashes]  # prediction, then label


def test_the_slice_that_differs_most_is_shown():
    image, label = picture(20)
    prediction = label.copy()
    prediction[:, :, 6] = 0
    prediction[0, 0, 2] = 1  # one pixel
    figure = overlay_figure([Case("a", image, label, prediction), Case("b", image, label, label)], LABELS, slices=2)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text().startswith("slice")]
    # halves of 20 slices: their middles are slices 6 and 16; of the first case slice 7 is the worst
    assert shown == ["slice 7", "slice 16", "slice 6", "slice 16"]


def test_the_window_of_a_case_is_used():
    image, label = picture(1)
    figure = overlay_figure([Case("ct", image, label, window=(-160.0, 240.0)), Case("mr", image)], LABELS)
    found = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert found[:2] == [(-160.0, 240.0)] * 2
    assert found[2] != (-160.0, 240.0)


@pytest.mark.parametrize("columns", [1, 5])
def test_no_title_is_cut(columns):
    image, label = picture(columns)
    name = (
        "worst: a_subject_with_a_very_long_name_of_a_large_study_2026_visit_02, mean Dice 0.12 over all of the classes"
    )
    figure = overlay_figure([Case(name, image, label, label)], {1: "a class with a long name"}, title=f"{name} {name}")
    figure.draw_without_rendering()
    texts = [figure._suptitle, *(axes._left_title for axes in figure.axes if axes.get_title("left"))]
    extents = [text.get_window_extent() for text in [*texts, *figure.legends]]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in extents)
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in extents)
    assert "".join(texts[1].get_text().split()) == "".join(name.split())


def test_titles_of_panels_are_broken():
    sheet = contact_sheet([Thumbnail("patient_0123456789_of_the_second_centre", np.eye(8))] * 3, {})
    sheet.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in sheet.axes]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    assert fitted("one\ntwo three", 1.0, size=12) == "one\ntwo three"
    assert fitted("abcdefghijkl", 0.5, size=12) == "abcd\nefgh\nijkl"  # 36 points of 7.8 a letter


def test_overlay_without_label_or_prediction():
    image, label = picture(3)
    figure = overlay_figure([Case("plain", image), Case("labelled", image, label)], LABELS, zoom=False)
    assert [len(axes.collections) for axes in figure.axes if axes.images][:6] == [0] * 6
    with pytest.raises(ValueError, match="at least one case"):
        overlay_figure([], LABELS)
    with pytest.raises(ValueError, match=r"label must have the shape of the image \(24, 30, 3\).*\(odd\)"):
        overlay_figure([Case("odd", image, label[..., :2])], LABELS)
    with pytest.raises(ValueError, match=r"shape \(H, W, D\)"):
        overlay_figure([Case("flat", image[..., 0])], LABELS)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"a": 0.1}, {"worst": "a"}),
        ({"a": 0.1, "b": 0.9}, {"best": "b", "worst": "a"}),
        ({"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.4, "e": 0.6}, {"best": "b", "median": "c", "worst": "a"}),
        ({"b": 0.5, "a": 0.5, "c": 0.5}, {"best": "a", "median": "b", "worst": "c"}),
    ],
)
def test_best_median_worst(scores, expected):
    assert best_median_worst(scores) == expected


def test_anatomy(tmp_path):
    maps = GENERATOR.random((4, 24, 30)) > 0.5
    image, _ = picture()
    figure = anatomy_figure(
        {"cine": image, "lge": image}, {"cine": maps, "lge": maps, "cine, deformed": maps}, title="s1"
    )
    assert len(figure.axes) == 3 * 5
    assert len(drawn(figure)) == 3 * 5 - 1  # the deformed anatomy has no image
    assert saved(figure, tmp_path)[0] > 0.1
    with pytest.raises(ValueError, match="with one C for all"):
        anatomy_figure({}, {"a": maps, "b": maps[:2]})


def test_alignment(tmp_path):
    image, label = picture()
    pair = AlignmentPair("s1", image, np.roll(image, 3, 1), image, np.roll(label, 3, 1), label, label)
    figure = alignment_figure([pair, pair._replace(fixed_mask=None)], LABELS, fixed_name="LGE", moving_name="cine")
    assert len(drawn(figure)) == 10
    assert [axes.get_title() for axes in figure.axes[:3]] == [
        "cine and its mask",
        "mask on LGE, before",
        "mask on LGE, after",
    ]
    assert [len(axes.collections) for axes in figure.axes[:10]] == [2, 4, 4, 0, 0, 2, 2, 2, 0, 0]
    assert saved(figure, tmp_path)[0] > 0.1
    with pytest.raises(ValueError, match="pair 's1' must have one shape"):
        alignment_figure([pair._replace(moving=image[:-1])], LABELS)


def test_checkerboard_alternates():
    board = checkerboard(np.array([[0.0, 1.0] * 4] * 8), np.full((8, 8), 7.0), tiles=4)
    assert board[:2, :2].tolist() == [[0, 1], [0, 1]]  # the first image
    assert board[:2, 2:4].tolist() == [[0, 0], [0, 0]]  # the second, which is flat
    assert board[2:4, 2:4].tolist() == [[0, 1], [0, 1]]


def test_traversal(tmp_path):
    found = latent_traversal(
        torch.rand(1, 1, 12, 16), torch.zeros(1, 3), lambda a, z: a * z[:, :1, None, None], steps=5
    )
    figure = traversal_figure(found, title="z")
    tables = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert [table.shape for table in tables] == [(3 * 13 - 1, 5 * 17 - 1), (3 * 13 - 1, 16), (3 * 13 - 1, 16)]
    np.testing.assert_allclose(tables[0][13:25, 34:50], found.images[1, 2].numpy())
    assert saved(figure, tmp_path)[0] > 0.1
    volume = found._replace(images=found.images[..., None])
    with pytest.raises(ValueError, match=r"shape \(D, S, H, W\)"):
        traversal_figure(volume)


def test_contact_sheet(tmp_path):
    image, label = picture(5)
    label[..., :3] = 0
    sheet = contact_sheet(
        [Thumbnail("s1", image, label), Thumbnail("s2", image), Thumbnail("s3", image[..., 0])], LABELS, columns=2
    )
    titles = [axes.get_title() for axes in drawn(sheet)]
    assert titles == ["s1 [5/5]", "s2 [3/5]", "s3"]  # of the labelled slices 4 and 5 the upper middle
    assert saved(sheet, tmp_path)[0] > 0.1
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([], LABELS)


def test_colours_can_be_told_apart():
    assert [label_color(k) for k in range(1, 9)] == list(LABEL_COLORS)
    rgb = np.array([mpl.colors.to_rgb(color) for color in LABEL_COLORS])
    lightness = np.sort(rgb @ [0.2126, 0.7152, 0.0722])
    assert len(set(LABEL_COLORS)) == len(LABEL_COLORS)
    assert min(b - a for a, b in pairwise(lightness)) >= 0
    with pytest.raises(ValueError, match="foreground value"):
        label_color(0)


def test_contour_of_what_lies_inside_is_drawn_last():
    axes = new_figure(2, 2).add_subplot()
    ring = np.zeros((20, 20), dtype=int)
    ring[2:18, 2:18] = 2
    ring[3:17, 3:17] = 1  # more pixels than the thin ring around it
    contours(axes, ring, [1, 2])
    assert [mpl.colors.to_hex(lines.get_edgecolor()[0]).upper() for lines in axes.collections] == [
        label_color(2),
        label_color(1),
    ]


def test_contour_at_the_border_is_closed():
    axes = new_figure(2, 2).add_subplot()
    contours(axes, np.ones((4, 6), dtype=int), [1, 2])
    (line,) = axes.collections
    (path,) = line.get_paths()
    np.testing.assert_allclose(path.vertices[0], path.vertices[-1])
    assert axes.get_xlim() == (-0.5, 5.5)
    assert axes.get_ylim() == (3.5, -0.5)


def test_windows_and_views():
    assert display_window([np.nan, np.inf]) == (0.0, 1.0)
    assert display_window([5.0, 5.0]) == (5.0, 6.0)
    soft_tissue = (-160.0, 240.0)
    assert display_window([-1000.0, 1200.0]) == soft_tissue  # from air to bone: Hounsfield units
    assert display_window([-1000.0, 1200.0], "mr") == soft_tissue
    body = np.linspace(-200, 150, 101)  # the 1st and 99th percentile are the second and the last but one
    assert display_window(body, "ct") == display_window(body, "cta_CT2") == soft_tissue
    assert display_window(body, "pet") == display_window(body, "act") == pytest.approx((-196.5, 146.5))
    assert display_window(np.linspace(0, 100, 101), "ct") == (1.0, 99.0)  # CT that was scaled before
    assert pick_slices(np.zeros((2, 2, 4)), 4, 9) == [0, 1, 2, 3]
    label = np.zeros((2, 2, 9))
    label[..., 3:6] = 1
    assert pick_slices(label, 9, 2) == [3, 5]
    assert focus(np.zeros((5, 7))) == (slice(0, 5), slice(0, 7))
    with pytest.raises(ValueError, match=r"shape \(H, W\)"):
        panel(new_figure(1, 1).add_subplot(), np.zeros((2, 2, 2)))


def test_volumes_are_turned_for_display():
    # RAS array: x to the right, y to the front, z to the head; a bright corner at right, front
    array = torch.zeros(1, 4, 6, 3)
    array[0, -1, -1, :] = 1
    volume = MetaTensor(array, affine=torch.diag(torch.tensor([1.0, 1.5, 8.0, 1.0])))
    turned = read_for_display(volume)
    assert turned.values.shape == (6, 4, 3)
    assert turned.spacing == (1.5, 1.0)
    # radiological view: front is up, the patient's right is on the left
    assert turned.values[0, 0].tolist() == [1, 1, 1]
    assert turned.values.sum() == 3


def test_no_global_figure_is_left():
    import matplotlib.pyplot as plt

    image, _ = picture()
    contact_sheet([Thumbnail("a", image)], LABELS)
    assert plt.get_fignums() == []
