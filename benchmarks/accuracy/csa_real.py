# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Affinities made alike in a real CT and a real MR of the spines of different people.

    python -m benchmarks.accuracy.csa_real --work runs/csa_real

The data, slabs and network lattice are those of ``spine`` in ``ummkd_real``: vertebral bodies, and all that is behind
them, with the same labels in both modalities. Settings of ``bundles/csa`` on volumes: ``msbn`` (no affinities), ``csa``
(the paper's size normalisation) and ``size_none``. Slabs of axial slices are trained on, others are held out, with a
slice between them that nobody uses. This shows that the bundle handles real files of unequal size, contrast and
orientation; one person a modality and held-out slices 3 mm from others can not show that one setting is better.

The images are read from ``MMSEG_REAL_DATA`` (default ``../shared/real_data``). A training that was finished is not run
again. Results: ``benchmarks/results/csa_real.json``, ``.md`` and a picture of the setting ``csa``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.accuracy.ummkd_real import RESULTS, STUDIES, draw, markdown, run_study
from benchmarks.cells import overrides_of, read_json, write_json
from benchmarks.runs import Run

STUDY = STUDIES["spine"]
KNOBS: dict[str, dict[str, Any]] = {"csa": {}, "size_none": {"size_norm": "none"}}
SETTINGS = ("msbn", *KNOBS)
WINDOW = "intensity#transforms#ct#transforms#0"
BUNDLE: dict[str, Any] = {  # of what ummkd_3d has as it is
    "features": [16, 32, 64, 128],
    "slice_axis": "axial",
    f"{WINDOW}#a_min": STUDY.window[0],
    f"{WINDOW}#a_max": STUDY.window[1],
}


def main() -> None:
    """Run what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/csa_real"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--set", action="append", default=[], metavar="ID=JSON", help="override for every setting")
    arguments = parser.parse_args()
    path = arguments.results / "csa_real.json"
    results = read_json(path) if path.is_file() else {}
    study = STUDY._replace(overrides={**STUDY.overrides, **overrides_of(arguments.set)})
    for name in arguments.settings:
        own = () if name in KNOBS else (f"settings/{name}",)
        run = Run(name, ("demo", "settings/volumes", "settings/ct_mr_window", *own), {**BUNDLE, **KNOBS.get(name, {})})
        results[name] = run_study(study, arguments.work, run, "csa")
        write_json(path, results)
        path.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
        if name == "csa":
            draw(study, arguments.work, path.with_name("csa_real_spine.jpg"), name)
    print(markdown(results))


if __name__ == "__main__":
    main()
