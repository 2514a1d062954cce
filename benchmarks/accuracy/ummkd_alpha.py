# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Does the weight of the distillation matter, and its temperature? Sweeps of both beside individual networks.

    python -m benchmarks.accuracy.ummkd_alpha --work runs/ummkd_phantom

Alpha 0.1 to 0.9 and temperatures 1, 2, 4, 10 of the setting ``ours``, on the phantom, with the network and the steps
of ``ummkd_phantom``, whose cells serve as alpha 0.5, temperature 2 and as the individual networks: run that first, or
what is missing of these is trained here too. Finished cells are kept. Results in ``benchmarks/results/ummkd_alpha``:
one JSON a cell, ``summary.md`` and a picture for each sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.ummkd_phantom import PHANTOM_SEED, RESULTS, STUDIES, Cell, cells, prepare, run_cell
from benchmarks.accuracy.ummkd_summary import MODALITIES, by_method
from benchmarks.accuracy.unpaired_cells import subjects_of, values
from benchmarks.cells import in_lanes, overrides_of, read_json, sd_over, study_parser, table_lines, write_summary
from monai_mmseg.visualize import save_figure, weight_boxes_figure

ALPHAS = tuple(round(0.1 * step, 1) for step in range(1, 10))
TEMPERATURES = (1, 2, 4, 10)
KNOBS = {"alpha": "kd_weight", "temperature": "temperature"}
SWEEPS = {"alpha": (ALPHAS, 0.5, "weight of the distillation"), "temperature": (TEMPERATURES, 2, "temperature")}
REFERENCES = ("ours", "individual_ct", "individual_mr")


def swept(dims: int, seeds: Sequence[int]) -> list[Cell]:
    """Cells of both sweeps without those that ``ours`` is."""
    found = []
    for seed in seeds:
        for sweep, (settings, usual, _) in SWEEPS.items():
            others = [setting for setting in settings if setting != usual]
            found += [Cell(dims, f"{sweep}_{one:g}", seed, ("demo",), {KNOBS[sweep]: one}) for one in others]
    return found


def summarise(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Dice of every setting and modality, one number a test subject (the mean over seeds), and of individual networks.

    Only cells of one number of dimensions belong together.
    """
    settings: dict[str, list[Mapping[str, Any]]] = {}
    for cell in found:
        settings.setdefault(cell["setting"], []).append(cell)
    alone = by_method(found).get("individual", [])
    summary: dict[str, Any] = {"seeds": sorted({cell["seed"] for cell in found}), "sweeps": {}, "individual": {}}
    for modality in MODALITIES:
        if alone:
            summary["individual"][modality] = float(values(alone, subjects_of(alone[0], modality)).mean())
    for sweep, (numbers, usual, _) in SWEEPS.items():
        lines = {}
        for number in numbers:
            same = settings.get("ours" if number == usual else f"{sweep}_{number:g}")
            if same:
                lines[f"{number:g}"] = {modality: _scores(same, modality) for modality in MODALITIES}
        summary["sweeps"][sweep] = lines
    return summary


def _scores(found: Sequence[Mapping[str, Any]], modality: str) -> dict[str, Any]:
    subjects = subjects_of(found[0], modality)
    dice = values(found, subjects)
    return {
        "dice": float(dice.mean()),
        "hausdorff95": float(values(found, subjects, "hausdorff95").mean()),
        "sd_over_subjects": sd_over(dice.mean(0)),
        "each_subject": [round(float(x), 4) for x in dice.mean(0)],
        "seeds": len(found),
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """A table for each sweep."""
    rows = [f"Training seeds {summary['seeds']}; mean ± sd over test subjects.", ""]
    alone = [f"{summary['individual'][m]:.3f}" if m in summary["individual"] else "–" for m in MODALITIES]
    for sweep, lines in summary["sweeps"].items():
        body = [["individual networks", alone[0], alone[1], "", "", ""]]
        for number, line in lines.items():
            dice = [f"{line[m]['dice']:.3f} ± {line[m]['sd_over_subjects']:.3f}" for m in MODALITIES]
            distances = [f"{line[m]['hausdorff95']:.1f}" for m in MODALITIES]
            body.append([number, *dice, *distances, str(line["ct"]["seeds"])])
        rows += table_lines([sweep, "Dice CT", "Dice MR", "HD95 CT [mm]", "HD95 MR [mm]", "seeds"], body)
        means = np.array([[line[m]["dice"] for m in MODALITIES] for line in lines.values()])
        if len(means):
            spread = (means.max(0) - means.min(0)).tolist()
            rows += ["", f"Highest minus lowest mean: CT {spread[0]:.3f}, MR {spread[1]:.3f}.", ""]
    return "\n".join(rows).rstrip() + "\n"


def draw(summary: Mapping[str, Any], folder: Path) -> None:
    """Box plots of both sweeps, a dot a test subject."""
    for sweep, lines in summary["sweeps"].items():
        if lines:
            boxes = {m: {float(number): line[m]["each_subject"] for number, line in lines.items()} for m in MODALITIES}
            figure = weight_boxes_figure(boxes, summary["individual"], xlabel=SWEEPS[sweep][2])
            save_figure(figure, folder / f"{sweep}.png")


def main() -> None:
    """Run what is missing and write the summary."""
    parser = study_parser(__doc__, "ummkd_alpha", phantom_seed=PHANTOM_SEED)
    parser.set_defaults(work=Path("runs/ummkd_phantom"), seeds=[0])
    parser.add_argument("--references", type=Path, default=RESULTS, help="results of ummkd_phantom")
    parser.add_argument("--dims", type=int, choices=list(STUDIES), default=2)
    arguments = parser.parse_args()
    overrides = overrides_of(arguments.set)
    prepare(arguments.work, arguments.dims, arguments.phantom_seed)
    known = cells([arguments.dims], arguments.seeds, REFERENCES)
    new = swept(arguments.dims, arguments.seeds)
    jobs = [(cell, arguments.work, arguments.references, overrides) for cell in known]
    jobs += [(cell, arguments.work, arguments.results, overrides) for cell in new]
    in_lanes(run_cell, jobs, arguments.lanes)
    places = [arguments.references / f"{cell.name}.json" for cell in known]
    places += [arguments.results / f"{cell.name}.json" for cell in new]
    summary = {"phantom_seed": arguments.phantom_seed, **summarise([read_json(path) for path in places])}
    draw(summary, arguments.results)
    write_summary(arguments.results, summary, markdown(summary))


if __name__ == "__main__":
    main()
