# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How good are the segmentations whose volumes are told as unlike those of the labels, and how good the others?

``python -m benchmarks.told_volumes STUDY [STUDY ...]`` reads folders of ``mmseg compare``, with their predictions and
their data, and prints how many of the tested classes were told, by their Dice.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from monai_mmseg.bundle.class_volumes import VOLUMES, class_volumes, is_unlike
from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.evaluation.files import prediction_files, read_label_volume

BANDS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 1.0)


def told_classes(cell: str | Path, datalist: str | Path) -> list[tuple[float, bool]]:
    """Dice of each class of each tested volume of a training, and whether it was told.

    Args:
        cell: folder of a training, such as ``cells/mr_2/csa/fold0_seed0``.
        datalist: what it was trained on.
    """
    listed, fold = read_datalist(datalist), int(Path(cell).name.removeprefix("fold").partition("_")[0])
    known = class_volumes(listed.select("training", exclude_fold=fold), listed.labels)[VOLUMES]
    found = []
    for item in listed.items("test"):
        files = prediction_files(Path(cell) / "predictions", item)
        if not files or not item.get("label"):  # of a subject with several images there is one prediction
            continue
        ours, true = (read_label_volume(path, listed.labels) for path in (files[0], item["label"]))
        voxel = float(np.prod(true.spacing)) / 1000
        for value, volumes in known.items():
            first, second = ours.values == int(value), true.values == int(value)
            both = int(first.sum() + second.sum())
            dice = 2 * int((first & second).sum()) / both if both else 1.0
            found.append((dice, is_unlike(int(first.sum()) * voxel, volumes)))
    return found


def main(studies: list[str]) -> None:
    """Print the table.

    Args:
        studies: folders.

    Raises:
        SystemExit: one has no prediction.
    """
    found = {study: sorted(Path(study).glob("cells/*/*/fold*_seed*/predictions")) for study in studies}
    if not found or not all(found.values()):
        bare = ", ".join(study for study, cells in found.items() if not cells) or "no study"
        raise SystemExit(f"no predictions in {bare}; usage: python -m benchmarks.told_volumes STUDY ...")
    cells = [path for paths in found.values() for path in paths]
    rows = []
    for path in cells:
        cell = path.parent
        listed = Path(*cell.parts[:-4], "data", cell.parts[-3], cell.name.partition("_")[0], "datalist.json")
        rows += told_classes(cell, listed)
    dice, told = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=bool)
    print(f"{len(cells)} trainings, {len(rows)} classes of tested volumes, {told.sum()} told")
    for low, high in pairwise(BANDS):
        inside = (dice >= low) & ((dice < high) | (high == 1))
        print(f"Dice {low:.1f} to {high:.1f}: {inside.sum():5d} classes, {told[inside].sum():4d} told")


if __name__ == "__main__":
    main(sys.argv[1:])
