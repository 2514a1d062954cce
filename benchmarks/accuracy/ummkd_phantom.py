# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One network for unpaired CT and MR beside its alternatives: 2D hearts and 3D abdomens, twenty CT against nine MR.

    python -m benchmarks.accuracy.ummkd_phantom --work runs/ummkd_phantom

The settings of the paper, each an overlay of ``bundles/ummkd`` (2D) and ``bundles/ummkd_3d`` (3D) on ``demo.json``:
``individual`` (a network each for CT and MR: two trainings), ``joint``, ``joint_kd``, ``y_shaped``, ``x_shaped``,
``chilopod`` and ``ours``; beside them ``ours_skip``, ours without the rule of the original code that a class which a
batch lacks counts as known to be uniform. All have the same number of steps with as many images of each modality. One
MR and three CT of the patients with labels only watch the training (nothing is selected by them: the last network is
scored). Scores are those of twelve further CT and twelve further MR; six outlier cases with artefacts are scored apart
from them.

Network, learning rate and steps are those of ``demo.json`` (400 steps in 2D), in 3D 160 steps, so that a cell takes
three minutes of one core: far from converged, above all in 2D. They were looked at on patients of phantom seed 0 with
the setting ``ours`` alone; the test patients are those of a phantom seed that nothing was tuned on. For more epochs of
all settings alike: ``--set max_epochs=40``, with a ``--work`` and ``--results`` of their own.

Cells run two at a time on one core each; a cell that was finished is not run again, one that was cut off goes on at its
last epoch. Results: one JSON a cell, ``summary.json``, ``summary.md`` and a picture in
``benchmarks/results/ummkd_phantom``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy.ummkd_summary import METHODS, draw, markdown, summarise
from benchmarks.accuracy.unpaired_cells import keep_cell
from benchmarks.cells import (
    finished,
    in_lanes,
    overrides_of,
    read_json,
    rounded,
    study_parser,
    write_json,
    write_summary,
)
from benchmarks.runs import ROOT, Run
from monai_mmseg.phantom import OUTLIERS, make_abdomen_phantom, make_cardiac_phantom

RESULTS = ROOT / "benchmarks" / "results" / "ummkd_phantom"
PHANTOM_SEED = 41
SUBJECTS, TEST_SUBJECTS, FOLDS = {"ct": 32, "mr": 21}, {"ct": 12, "mr": 12}, 9
OUTLIER_CASES = {"ct": 3, "mr": 3}
SETTINGS = ("individual_ct", "individual_mr", *METHODS[1:])

KNOBS: dict[str, dict[str, Any]] = {"ours": {}, "ours_skip": {"absent": "skip"}}
"""Settings that are no overlay, but these values over ``train.json``."""


class Study(NamedTuple):
    """One bundle, its phantom, and how long it is trained."""

    bundle: str
    make: Any
    overrides: Mapping[str, Any]  # of demo.json, the same for every setting


STUDIES = {
    2: Study("ummkd", make_cardiac_phantom, {}),
    3: Study("ummkd_3d", make_abdomen_phantom, {"max_epochs": 4, "val_interval": 2}),
}


class Cell(NamedTuple):
    """One training and its evaluation."""

    dims: int
    setting: str
    seed: int
    overlays: tuple[str, ...]
    knobs: Mapping[str, Any] = {}  # further values of this setting

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.dims}d_{self.setting}_seed{self.seed}"


def cells(dims: Sequence[int], seeds: Sequence[int], only: Sequence[str] = SETTINGS) -> list[Cell]:
    """All cells, seed by seed so that a cut leaves whole seeds."""
    return [
        Cell(d, name, seed, (*(() if name in KNOBS else (f"settings/{name}",)), "demo"), KNOBS.get(name, {}))
        for seed in seeds
        for d in dims
        for name in only
    ]


def prepare(work: Path, dims: int, phantom_seed: int) -> Path:
    """Make the phantom, and a datalist whose test section holds the outliers too: the folder of the data."""
    phantom, folder = work / f"{dims}d" / "phantom", work / f"{dims}d" / "data"
    numbers = {"subjects": SUBJECTS, "test_subjects": TEST_SUBJECTS, "outliers": OUTLIER_CASES, "folds": FOLDS}
    STUDIES[dims].make(phantom, **numbers, size=64, seed=phantom_seed)
    listed = read_json(phantom / "datalist.json")
    listed["test"] += read_json(phantom / OUTLIERS)["test"]
    for item in [*listed["training"], *listed["test"]]:
        item.update({key: f"../phantom/{item[key]}" for key in ("image", "label")})
    write_json(folder / "datalist.json", listed)
    return folder


def run_cell(cell: Cell, work: Path, results: Path, overrides: Mapping[str, Any]) -> None:
    """Train and evaluate one cell, and write its JSON."""
    study = STUDIES[cell.dims]
    run = Run(cell.setting, cell.overlays, {"seed": cell.seed, **study.overrides, **cell.knobs})
    folders = {"data": work / f"{cell.dims}d" / "data", "work": work, "results": results}
    keep_cell(cell.name, cell._asdict(), run, bundle=study.bundle, overrides=overrides, **folders)


def main() -> None:
    """Run what is missing and write the summary."""
    parser = study_parser(__doc__, "ummkd_phantom", phantom_seed=PHANTOM_SEED, settings=SETTINGS)
    parser.add_argument("--dims", type=int, nargs="+", choices=list(STUDIES), default=list(STUDIES))
    arguments = parser.parse_args()
    work, results, overrides = arguments.work, arguments.results, overrides_of(arguments.set)
    for dims in arguments.dims:
        prepare(work, dims, arguments.phantom_seed)
    jobs = [(cell, work, results, overrides) for cell in cells(arguments.dims, arguments.seeds, arguments.only)]
    in_lanes(run_cell, jobs, arguments.lanes)
    summary = {"phantom_seed": arguments.phantom_seed, **summarise(finished(results))}
    draw(summary, results / "summary.png")
    write_summary(results, rounded(summary), markdown(summary))


if __name__ == "__main__":
    main()
