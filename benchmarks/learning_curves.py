# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether recipes learn: loss and validation Dice over the steps of trainings, and the Dice of the test subjects.

``python -m benchmarks.learning_curves CELL ... --as dafnet`` adds the trainings of cells that ``mmseg compare`` made to
`benchmarks/results/learning_curves.csv` (those of one name take the place of earlier ones), and draws the picture.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import ROOT
from monai_mmseg.files import write_text

TABLE = ROOT / "benchmarks" / "results" / "learning_curves.csv"
PICTURE = ROOT / "docs" / "images" / "learning_curves.svg"
COLUMNS = ("recipe", "seed", "step", "loss", "validation", "test")
LOSSES = ("supervised", "dice", "cross_entropy")  # terms of labels


class Row(NamedTuple):
    """One epoch of a training; NaN where nothing was measured."""

    recipe: str
    seed: int
    step: int
    loss: float
    validation: float
    test: float  # of the last epoch


def read_cell(folder: Path, recipe: str) -> list[Row]:
    """Epochs of a cell of a study.

    Args:
        folder: of the cell.
        recipe: name in the table.
    """
    cell = json.loads((folder / "cell.json").read_text())
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    test = float(np.mean([one["values"]["dice"] for one in scores if "dice" in one["values"]]))
    with (folder / "terms.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    rows = []
    for number, epoch in enumerate(epochs, start=1):
        terms = [value for name, value in epoch.items() if name.count("/") == 1 and name.split("/")[1] in LOSSES]
        loss = sum(float(value) for value in terms if value) if any(terms) else float("nan")
        valid = float(epoch.get("validation/val_mean_dice") or "nan")
        last = test if number == len(epochs) else float("nan")
        rows.append(Row(recipe, cell["seed"], round(number * cell["steps"] / len(epochs)), loss, valid, last))
    return rows


def read_table() -> list[Row]:
    """All epochs that are kept."""
    if not TABLE.is_file():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Row(row["recipe"], int(row["seed"]), int(row["step"]), *(float(row[name] or "nan") for name in COLUMNS[3:]))
            for row in csv.DictReader(file)
        ]


def write_table(rows: Sequence[Row]) -> None:
    """Keep epochs; an empty field is one that was not measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([*row[:3], *("" if np.isnan(value) else f"{value:.4g}" for value in row[3:])])
    write_text(TABLE, text.getvalue())


def change(rows: Sequence[Row]) -> float:
    """How much validation Dice grows over the last quarter of the steps, mean over the trainings that measured it.

    Args:
        rows: of one recipe, all seeds.

    Examples:
        >>> rising = [Row("a", 0, step, 0.0, min(step, 90) / 100, 0.0) for step in range(0, 101, 5)]
        >>> round(change(rising), 3)
        0.15
    """
    grown = []
    for seed in {row.seed for row in rows}:
        seen = [row for row in rows if row.seed == seed and not np.isnan(row.validation)]
        if not seen:
            continue
        before = min(seen, key=lambda row: abs(row.step - 0.75 * seen[-1].step))
        grown.append(seen[-1].validation - before.validation)
    return float(np.mean(grown)) if grown else float("nan")


def draw(rows: Sequence[Row]) -> None:
    """One column a recipe: validation Dice and test Dice above, loss of the labels below."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "curves", "path.simplify": True}
    from matplotlib import pyplot as plt

    recipes = list(dict.fromkeys(row.recipe for row in rows))
    figure, axes = plt.subplots(2, len(recipes), figsize=(2.6 * len(recipes), 4.6), squeeze=False, layout="constrained")
    for column, recipe in enumerate(recipes):
        mine = [row for row in rows if row.recipe == recipe]
        above, below = axes[:, column]
        seeds = sorted({row.seed for row in mine})
        for number, seed in enumerate(seeds):
            one = [row for row in mine if row.seed == seed]
            seen = [row for row in one if not np.isnan(row.validation)]
            color = f"C{number}"
            above.plot([r.step for r in seen], [r.validation for r in seen], color=color, lw=1.3, label=f"seed {seed}")
            about = "its test subjects" if seed == seeds[-1] else None
            above.plot(
                one[-1].step, one[-1].test, "D", color=color, ms=5, mec="#333", mew=0.6, label=about, clip_on=False
            )
            below.plot([r.step for r in one], [r.loss for r in one], color=color, lw=1.1)
        above.set(title=recipe, ylim=(0, 1))
        last = max(row.step for row in mine)
        below.set_xlabel("steps")
        for axis in (above, below):
            axis.set(xlim=(0, 1.03 * last), xticks=(0, last // 2, last))
            axis.grid(color="#ddd", lw=0.6)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("Dice, validation")
    axes[1, 0].set_ylabel("loss of the labels")
    axes[0, 0].legend(frameon=False, loc="lower right", fontsize=8)
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Add cells, draw, and print what each recipe has and still gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", type=Path, help="folders of cells: STUDY/cells/SETTING/METHOD/fold0_seed0")
    parser.add_argument("--as", dest="recipe", help="name of the recipe that the cells have")
    asked = parser.parse_args(argv)
    if bool(asked.cells) != bool(asked.recipe):
        parser.error("cells and --as go together.")
    files = [folder / name for folder in asked.cells for name in ("cell.json", "scores.json", "terms.csv")]
    if lacking := [path for path in files if not path.is_file()]:
        parser.error(f"{lacking[0]} is not there: cells are trainings that have ended.")
    rows = read_table()
    if asked.cells:
        new = [row for folder in asked.cells for row in read_cell(folder, asked.recipe)]
        rows = [row for row in rows if row.recipe != asked.recipe] + new
        write_table(rows)
    draw(rows)
    for recipe in dict.fromkeys(row.recipe for row in rows):
        mine = [row for row in rows if row.recipe == recipe]
        tests = [row.test for row in mine if not np.isnan(row.test)]
        about = f"test {np.mean(tests):.3f} of {len(tests)} trainings"
        print(f"{recipe}: {max(r.step for r in mine)} steps, {about}, last quarter {change(mine):+.3f}")


if __name__ == "__main__":
    main()
