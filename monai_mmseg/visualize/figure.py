# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What all figures share: colours of labels, dark panels, images and contours, saving."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from monai.utils import optional_import
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LineStyle: TypeAlias = str | tuple[int, tuple[float, ...]]  # of matplotlib

_Figure, _ = optional_import("matplotlib.figure", name="Figure")
_Constrained, _ = optional_import("matplotlib.layout_engine", name="ConstrainedLayoutEngine")
_Line2D, _ = optional_import("matplotlib.lines", name="Line2D")

#: Okabe and Ito's colours, told apart by all common kinds of colour vision; label 1 has the first. Black is left out.
LABEL_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2", "#BBBBBB")
SOFT_TISSUE = (-160.0, 240.0)  # HU: the window in which organs are read
BACKGROUND, INK, QUIET, GRID = "#14161A", "#E8EAED", "#9AA0A6", "#343A42"
REFERENCE_COLOR = "#FFFFFF"
GAP = 0.06  # between the images of a mosaic, as a share of their width
LABEL_STYLE = (0, (2.5, 1.8))  # dashes of a true outline; a predicted one is solid


def label_color(label: int) -> str:
    """Colour ``#RRGGBB`` of a label value, the same in every figure and in the report; after eight they repeat.

    Raises:
        ValueError: the label is background or negative.

    Examples:
        >>> label_color(1), label_color(9) == label_color(1)
        ('#E69F00', True)
    """
    if label < 1:
        raise ValueError(f"label must be a foreground value (1 or more), got {label}.")
    return LABEL_COLORS[(label - 1) % len(LABEL_COLORS)]


def new_figure(width: float, height: float, *, gap: float = 0.0) -> Figure:
    """Empty dark figure that fits its content; no global state of matplotlib is touched.

    Args:
        width: inches.
        height: inches.
        gap: room between panels, as a share of a panel.
    """
    layout = _Constrained(w_pad=0.03, h_pad=0.06, wspace=gap, hspace=gap)
    figure: Figure = _Figure(figsize=(width, height), facecolor=BACKGROUND, layout=layout)
    return figure


def panel(axes: Axes, image: ArrayLike, *, window: tuple[float, float] | None = None, **settings: Any) -> Any:
    """Show one slice as it lies in memory: first axis down, second axis right.

    Args:
        axes: where.
        image: shape ``(H, W)``.
        window: darkest and brightest value; ``None`` takes those of :func:`display_window`.
        settings: passed on to ``imshow`` (``cmap``, ``aspect`` and so on).

    Returns:
        matplotlib's image, for a colour bar.
    """
    values = np.asarray(image, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"image must have shape (H, W), got {values.shape}.")
    low, high = window if window is not None else display_window(values)
    settings = {"cmap": "gray", "interpolation": "nearest", "vmin": low, "vmax": high, **settings}
    axes.set_axis_off()
    return axes.imshow(values, **settings)


def mosaic(
    axes: Axes, images: ArrayLike, *, rows: Sequence[str] = (), columns: Sequence[str] = (), **settings: Any
) -> Any:
    """Show a table of slices of one size in one panel: a panel each costs 30 ms.

    Args:
        axes: where.
        images: shape ``(R, C, H, W)``.
        rows: text left of each row.
        columns: text above each column.
        settings: see :func:`panel`; ``window`` is that of all images.

    Returns:
        matplotlib's image, for a colour bar.
    """
    values = np.asarray(images, dtype=np.float64)
    count, across, height, width = values.shape
    gap = max(1, round(GAP * width))
    spaced = np.pad(values, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    table = spaced.transpose(0, 2, 1, 3).reshape(count * (height + gap), across * (width + gap))[:-gap, :-gap]
    image = panel(axes, table, **{"window": display_window(values), **settings})
    look: dict[str, Any] = {"color": INK, "fontsize": 9}
    for row, text in enumerate(rows):
        middle = row * (height + gap) + (height - 1) / 2
        axes.text(-0.5 - gap, middle, plain(text), rotation=90, ha="right", va="center", **look)
    for column, text in enumerate(columns):
        middle = column * (width + gap) + (width - 1) / 2
        axes.text(middle, -0.5 - gap, plain(text), ha="center", va="bottom", **{**look, "color": QUIET})
    return image


def display_window(image: ArrayLike, modality: str = "") -> tuple[float, float]:
    """Darkest and brightest value shown: 1st and 99th percentile, or the soft-tissue window of CT.

    Args:
        image: any shape.
        modality: a name with the word ``ct`` says that values below -100 are Hounsfield units. Other images are taken
            for CT where they reach from air to bone.

    Returns:
        Both values.

    Examples:
        >>> display_window([0.0, 0.0])
        (0.0, 1.0)
        >>> display_window([-1000.0, 60.0, 900.0])
        (-160.0, 240.0)
    """
    values = np.asarray(image, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    named = "ct" in re.split(r"[^a-z]+", modality.lower())
    if values.min() <= (-100 if named else -800) and values.max() >= (100 if named else 200):
        return SOFT_TISSUE
    low, high = (float(value) for value in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


def contours(
    axes: Axes,
    label: ArrayLike,
    values: Sequence[int],
    *,
    color: str | None = None,
    width: float = 1.2,
    style: LineStyle = "-",
) -> None:
    """Outline of each class of a label slice.

    Args:
        axes: axes that show the image.
        label: integer class map, shape ``(H, W)``.
        values: classes to draw.
        color: one colour for all; ``None`` takes :func:`label_color`.
        width: of the line in points.
        style: matplotlib line style.
    """
    classes = np.pad(np.asarray(label), 1)  # a class at the border of the image gets a closed line too
    rows, columns = np.arange(classes.shape[0]) - 1, np.arange(classes.shape[1]) - 1
    # Neighbours share a border: what lies inside is drawn last, or its whole outline would vanish under the outer one.
    for value in sorted(values, key=lambda value: -_extent(classes == value)):
        mask = classes == value
        if mask.any():
            axes.contour(
                columns,
                rows,
                mask.astype(float),
                [0.5],
                colors=[color or label_color(value)],
                linewidths=width,
                linestyles=[style],
            )
    axes.set_xlim(-0.5, classes.shape[1] - 2.5)
    axes.set_ylim(classes.shape[0] - 2.5, -0.5)


def _extent(mask: NDArray[np.bool_]) -> int:
    """Pixels of the bounding box: a ring is larger than what it surrounds, however thin it is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)) if rows.size else 0


def label_legend(
    figure: Figure, labels: Mapping[int, str], *, lines: Mapping[str, tuple[str, LineStyle]] | None = None
) -> None:
    """Legend below the panels: colour of each class, and the meaning of line styles.

    Args:
        figure: figure that gets it.
        labels: value to name; background is left out.
        lines: name to (colour, line style).
    """
    handles = [
        _Line2D([], [], color=label_color(value), lw=3, label=plain(name))
        for value, name in labels.items()
        if value != 0
    ]
    handles += [
        _Line2D([], [], color=color, ls=style, lw=1.5, label=plain(name))
        for name, (color, style) in (lines or {}).items()
    ]
    if handles:
        widest = 0.55 + 0.075 * max(len(str(handle.get_label())) for handle in handles)  # inches, of a column
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=max(1, min(len(handles), 6, int(figure.get_figwidth() / widest))),
            frameon=False,
            labelcolor=INK,
            fontsize=9,
        )


def heading(figure: Figure, title: str) -> None:
    """Title of the whole figure, left aligned; an empty one takes no room.

    Args:
        figure: figure that gets it.
        title: plain text; ``$`` has no special meaning.
    """
    if title:
        text = fitted(title, figure.get_figwidth(), size=12)
        figure.suptitle(plain(text), color=INK, fontsize=12, x=0.01, ha="left")


def caption(axes: Axes, text: str, *, size: float = 9, color: str = INK) -> None:
    """Text above a panel, in as many lines as its width asks for."""
    axes.set_title(plain(fitted(text, _room(axes)[0], size=size)), color=color, fontsize=size, pad=3)


def side_caption(axes: Axes, text: str, *, size: float = 9) -> None:
    """Text left of the first panel of a row, in as many lines as its height asks for."""
    axes.text(
        -0.04,
        0.5,
        plain(fitted(text, _room(axes)[1], size=size)),
        transform=axes.transAxes,
        rotation=90,
        ha="right",
        va="center",
        color=INK,
        fontsize=size,
    )


def color_bar(figure: Figure, image: Any, panels: Sequence[Axes]) -> None:
    """Scale of colours beside panels that share it.

    Args:
        figure: figure that gets it.
        image: what :func:`panel` returned for one of them.
        panels: those beside which it stands.
    """
    bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.02, shrink=0.9)
    bar.ax.tick_params(colors=QUIET, labelsize=7, length=2)
    bar.outline.set_visible(False)


def corner_caption(axes: Axes, text: str) -> None:
    """Small text in the lower left corner of a panel, readable on any image."""
    box = {"facecolor": BACKGROUND, "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    axes.text(
        0.03, 0.03, plain(text), transform=axes.transAxes, ha="left", va="bottom", color=INK, fontsize=7, bbox=box
    )


def fitted(text: str, width: float, *, size: float) -> str:
    r"""Text broken into lines that fit a width; a long word is broken too, and nothing is cut.

    Args:
        text: any; its own line breaks stay.
        width: inches.
        size: of the font in points.

    Returns:
        The lines.

    Examples:
        >>> fitted("left ventricle of the heart", 1.0, size=10)
        'left\nventricle\nof the\nheart'
    """
    letters = max(4, int(width * 72 / (0.65 * size)))  # DejaVu Sans: up to 0.65 of the size a letter
    return "\n".join("\n".join(textwrap.wrap(line, letters)) for line in text.splitlines())


def _room(axes: Axes) -> tuple[float, float]:
    """Width and height in inches that a panel of a grid has."""
    figure, place = axes.get_figure(), axes.get_subplotspec()
    assert figure is not None
    grid = place.get_gridspec() if place is not None else None
    columns, rows = (grid.ncols, grid.nrows) if grid is not None else (1, 1)
    return float(figure.bbox.width / figure.dpi) / columns, float(figure.bbox.height / figure.dpi) / rows


def plain(text: str) -> str:
    """Text in which matplotlib reads no formulas."""
    return text.replace("$", r"\$")


def pick_slices(label: ArrayLike | None, depth: int, count: int) -> list[int]:
    """Ascending indexes of slices worth showing: evenly spread over those with foreground, or over the volume.

    They are the middles of equal parts, for an organ's first and last slice show next to nothing.

    Args:
        label: integer class map, shape ``(H, W, D)``, or ``None``.
        depth: number of slices D.
        count: how many are wanted at most.

    Examples:
        >>> pick_slices(None, 9, 3)
        [1, 4, 7]
    """
    holding = np.arange(depth)
    if label is not None:
        found = np.flatnonzero(np.asarray(label).reshape(-1, depth).any(axis=0))
        holding = found if found.size else holding
    parts = min(count, len(holding))
    return [int(holding[int((part + 0.5) * len(holding) / parts)]) for part in range(parts)]


def focus(label: ArrayLike, *, margin: float = 0.35) -> tuple[slice, slice]:
    """Rows and columns around the foreground, so that small organs fill their panels.

    Args:
        label: integer class map, shape ``(H, W)`` or ``(H, W, D)``.
        margin: room on each side as a share of the larger extent of the foreground.

    Returns:
        Slices for the two first axes: a square where the image allows; everything without foreground.

    Examples:
        >>> mask = np.zeros((20, 20)); mask[8:12, 9:11] = 1
        >>> focus(mask, margin=0.5)
        (slice(6, 14, None), slice(6, 14, None))
    """
    classes = np.asarray(label)
    flat: NDArray[np.bool_] = np.asarray((classes.reshape(*classes.shape[:2], -1) > 0).any(axis=2))
    if not flat.any():
        return slice(0, flat.shape[0]), slice(0, flat.shape[1])
    rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    half = extent / 2 + max(2, round(margin * extent))
    spans = []
    for found, size in ((rows, flat.shape[0]), (columns, flat.shape[1])):
        middle = (found[0] + found[-1] + 1) / 2
        spans.append(slice(max(0, int(np.floor(middle - half))), min(size, int(np.ceil(middle + half)))))
    return spans[0], spans[1]


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 110) -> Path:
    """Write a figure with its own background, and return the path.

    Args:
        figure: any figure of this package.
        path: where; the ending decides the format, folders are made.
        dpi: pixels per inch.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=dpi, facecolor=figure.get_facecolor())
    return target
