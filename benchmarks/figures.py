# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves of the documentation, out of the scores that `benchmarks/results` keeps: ``python -m benchmarks.figures``.

A study's page draws its own cells; here are scores of several calls together, such as seeds that were run apart.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from benchmarks import ROOT
from benchmarks.kept_scores import number_of, read_kept
from monai_mmseg.files import write_text
from monai_mmseg.study.content import Setting
from monai_mmseg.study.curves import Style, label_curves, method_styles
from monai_mmseg.study.statistics import summarise

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT, LEGEND = 460, 270, 475
STYLE = (
    'text{font:12px system-ui,"DejaVu Sans",sans-serif;fill:#555}.grid{stroke:#ddd}'
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}.under{stroke:#222;stroke-width:2.8;opacity:.4}"
    ".edged{stroke:#222;stroke-width:.7;fill-opacity:.9}.interval{stroke-width:1.6;opacity:.8}"
)


class Figure(NamedTuple):
    """One curve over settings."""

    name: str  # of the picture
    files: Sequence[str]  # tables of scores below `benchmarks/results`
    modality: str
    across: str
    about: str  # what a reader who cannot see it should know
    lead: str
    methods: Sequence[str]
    against: str = ""  # method on whose curve the others' scores are looked up: how many labels it would need


UNPAIRED = ("individual", "joint", "chilopod", "ummkd", "csa")
FIGURES = (
    Figure(
        "unpaired_labels",
        ("unpaired_labels/scores*.csv",),
        "mr",
        "labelled MR patients",
        "Dice of MR over the number of labelled MR patients: sharing a network with CT is worth most with one",
        "ummkd",
        UNPAIRED,
        "individual",
    ),
    Figure(
        "csa_labels",
        ("csa_labels/scores*.csv",),
        "lge",
        "labelled LGE patients",
        "Dice of LGE over the number of labelled LGE patients: a network shared with bSSFP is worth most with one",
        "csa",
        ("csa", "msbn", "joint", "individual"),
        "individual",
    ),
    Figure(
        "dafnet_misalignment",
        ("dafnet_misalignment/scores*.csv",),
        "lge",
        "misalignment: in place, as calibrated, twice",
        "Dice of LGE over misalignment: copied masks and DAFNet fall, random contrasts hardly, a U-Net on registered "
        "masks is ahead where hearts have moved",
        "unet_registered_masks",
        (
            "unet_registered_masks",
            "unet_source_randomised",
            "dafnet",
            "dafnet_pretrained",
            "copy",
            "register",
            "unet_copied_masks",
            "dafnet_registered_masks",
        ),
    ),
    Figure(
        "dafnet_labels",
        ("dafnet_table_1/scores*.csv", "dafnet_table_2/scores.csv"),
        "lge",
        "labelled LGE subjects, % of 21",
        "Dice of LGE over the share of labelled subjects: without a label DAFNet is ahead of copied masks, with three "
        "or more labels a plain U-Net on both modalities is ahead of DAFNet",
        "dafnet",
        ("dafnet", "unet_both", "unet_target", "unet_source_randomised", "copy"),
    ),
)


def draw(figure: Figure, settings: Sequence[Setting]) -> str:
    """The curve as a picture of its own, with its legend.

    Args:
        figure: which.
        settings: of :func:`~benchmarks.kept_scores.read_kept`.
    """
    styles = method_styles(settings, figure.lead)
    chart = label_curves(settings, styles, figure.lead)[0].chart
    inner = chart[chart.index(">") + 1 : -len("</svg>")]
    start = inner.index("number in “")
    inner = inner[:start] + escape(figure.across) + inner[inner.index("<", start) :]
    inner = inner.replace(">Dice<", f">Dice of {figure.modality.upper()}<")
    width = LEGEND + 30 + 7 * max(map(len, styles))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img"'
    legend = "".join(_entry(at, name, style) for at, (name, style) in enumerate(styles.items()))
    back = f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>'
    return f'{head} aria-label="{escape(figure.about)}"><style>{STYLE}</style>{back}{inner}{legend}</svg>\n'


def _entry(at: int, name: str, style: Style) -> str:
    """A square in the method's colour and its name."""
    top = 20 + 22 * at
    place, look = f'x="{LEGEND}" y="{top}" width="12" height="12" rx="2"', f'fill="{style.color}" stroke="#333"'
    return f'<rect {place} {look} stroke-width=".6"/><text x="{LEGEND + 18}" y="{top + 10}">{escape(name)}</text>'


def table(settings: Sequence[Setting]) -> list[str]:
    """Lines of Markdown: Dice with the deviation over trainings, and the surface distance in mm."""
    names = list(dict.fromkeys(cell.method for one in settings for cell, _ in one.tables))
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for setting in settings:
        told = []
        for name in names:
            dice, mm = (setting.sample(one).values.get(name) for one in ("dice", "surface_distance"))
            if dice is None or mm is None:
                told.append("")
                continue
            found, far = (summarise(values, confidence=None) for values in (dice, mm))
            spread = f" ± {found.sd_trainings:.3f}" if found.trainings > 1 else ""
            told.append(f"{found.mean:.3f}{spread} ({far.mean:.1f})")
        lines.append(f"| {setting.name} | {' | '.join(told)} |")
    return lines


def equivalents(settings: Sequence[Setting], against: str) -> list[str]:
    """Lines of text: how many labels a method would need for what the others have, linear between doublings.

    Args:
        settings: by rising numbers of labels.
        against: the method.

    Examples:
        >>> equivalents([], "individual")
        []
    """
    counts = [number_of(one.name) for one in settings]
    samples = [one.sample("dice").values for one in settings]
    values = [{name: summarise(x, confidence=None).mean for name, x in one.items()} for one in samples]
    own = np.maximum.accumulate([one[against] for one in values]) if values else []
    lines = []
    for setting, known in zip(settings, values, strict=True):
        told = (
            f"{name} {2 ** np.interp(dice, own, np.log2(counts)):.1f}" + ("+" if dice > own[-1] else "")
            for name, dice in known.items()
            if name != against
        )
        lines.append(f"{setting.name} is worth of {against}: {', '.join(told)}")
    return lines


def main(names: Sequence[str]) -> None:
    """Write pictures and print their numbers.

    Args:
        names: of figures; none: all.

    Raises:
        SystemExit: one is unknown.
    """
    known = [one.name for one in FIGURES]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"there is no figure {', '.join(unknown)}, but {', '.join(known)}.")
    for figure in FIGURES:
        if not names or figure.name in names:
            settings = read_kept(figure.files, figure.modality, figure.methods)
            path = write_text(IMAGES / f"{figure.name}.svg", draw(figure, settings))
            more = equivalents(settings, figure.against) if figure.against else []
            print(f"{path.relative_to(ROOT)}", *table(settings), *more, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
