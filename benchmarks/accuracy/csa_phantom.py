# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Affinities made alike in LGE and bSSFP, beside the five settings that the paper compares them with.

    python -m benchmarks.accuracy.csa_phantom --work runs/csa_phantom

Overlays of ``bundles/csa`` on ``demo.json``: ``single`` (a network each for LGE and bSSFP: two trainings), ``ummkd``,
``joint``, ``msbn``, ``affinity``, ``csa``, and ``csa`` with other size normalisations: ``size_none``, ``size_fraction``
and ``size_input``. All have the same number of steps with as many slices of each modality, and the same initial weights
for the same seed. Two of the 20 patients of each modality only watch the training (nothing is selected by them: the
last network is scored). Scores are those of twelve further patients of each modality; no patient has both.

Network, learning rate and steps are those of ``demo.json`` (400 steps): a cell takes about three minutes of one core,
and is far from converged. Nothing was tuned on this phantom, whose seed is not that of the demo. For more epochs of all
settings alike: ``--set max_epochs=40``, with a ``--work`` and ``--results`` of their own.

Cells run two at a time on one core each; a cell that was finished is not run again, one that was cut off goes on at its
last epoch. Results: one JSON a cell, ``summary.json``, ``summary.md`` and a picture in
``benchmarks/results/csa_phantom``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy.csa_summary import draw, markdown, summarise
from benchmarks.accuracy.unpaired_cells import keep_cell
from benchmarks.cells import finished, in_lanes, overrides_of, rounded, study_parser, write_summary
from benchmarks.runs import Run
from monai_mmseg.phantom import make_cmr_phantom

PHANTOM_SEED, SIZE, FOLDS = 41, 128, 10
SUBJECTS, TEST_SUBJECTS = {"lge": 32, "bssfp": 32}, {"lge": 12, "bssfp": 12}
KNOBS: dict[str, dict[str, Any]] = {"csa": {}, **{f"size_{n}": {"size_norm": n} for n in ("none", "fraction", "input")}}
"""Settings that are no overlay, but these values over ``train.json``."""
SETTINGS = (
    *("single_lge", "single_bssfp", "ummkd", "joint", "msbn", "affinity", "csa"),
    *("size_none", "size_fraction", "size_input"),
)


class Cell(NamedTuple):
    """One training and its evaluation."""

    setting: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.setting}_seed{self.seed}"


def cells(seeds: Sequence[int], only: Sequence[str] = SETTINGS) -> list[Cell]:
    """All cells, seed by seed so that a cut leaves whole seeds."""
    return [Cell(name, seed) for seed in seeds for name in only]


def prepare(work: Path, phantom_seed: int) -> Path:
    """Make the phantom: the folder of the data."""
    folder = work / "data"
    numbers = {"subjects": SUBJECTS, "test_subjects": TEST_SUBJECTS}
    make_cmr_phantom(folder, **numbers, folds=FOLDS, size=SIZE, seed=phantom_seed)
    return folder


def run_cell(cell: Cell, work: Path, results: Path, overrides: Mapping[str, Any]) -> None:
    """Train and evaluate one cell, and write its JSON."""
    overlays = ("demo",) if cell.setting in KNOBS else (f"settings/{cell.setting}", "demo")
    run = Run(cell.setting, overlays, {"seed": cell.seed, **KNOBS.get(cell.setting, {})})
    folders = {"data": work / "data", "work": work, "results": results}
    keep_cell(cell.name, {**cell._asdict(), "overlays": overlays}, run, bundle="csa", overrides=overrides, **folders)


def main() -> None:
    """Run what is missing and write the summary."""
    arguments = study_parser(__doc__, "csa_phantom", phantom_seed=PHANTOM_SEED, settings=SETTINGS).parse_args()
    work, results, overrides = arguments.work, arguments.results, overrides_of(arguments.set)
    prepare(work, arguments.phantom_seed)
    jobs = [(cell, work, results, overrides) for cell in cells(arguments.seeds, arguments.only)]
    in_lanes(run_cell, jobs, arguments.lanes)
    summary = {"phantom_seed": arguments.phantom_seed, **summarise(finished(results))}
    draw(summary, results / "summary.png")
    write_summary(results, rounded(summary), markdown(summary))


if __name__ == "__main__":
    main()
