# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One network for a real CT and a real MR of different people: abdominal organs, and vertebrae.

    python -m benchmarks.accuracy.ummkd_real --work runs/ummkd_real

* ``abdomen``: liver, kidneys, spleen. The labels are themselves predictions of TotalSegmentator, not an expert's.
* ``spine``: vertebral bodies (with their endplates, which only the MR names) and all that is behind them.

Each modality is one volume of one person. Slabs of axial slices are trained on, others are held out, with a slice
between them that nobody uses; then the network, the 3D one of ``bundles/ummkd_3d``, segments both whole volumes, each
with the normalisation of its modality. This shows that the bundle handles real files of unequal size, contrast and
orientation. Held-out slices are 6 mm (abdomen) or 3 mm (spine) from slices that were trained on, so it can not show
that a network generalises to other people.

The images are read from ``MMSEG_REAL_DATA`` (default ``../shared/real_data``). A training that was finished is not run
again. Results: ``benchmarks/results/ummkd_real.json``, ``.md`` and one picture a data set.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.dafnet_real import real_data
from benchmarks.cells import read_json, table_lines, write_json
from benchmarks.runs import ROOT, Run, train_and_evaluate
from monai_mmseg.evaluation import Score, ScoreTable, score_volume
from monai_mmseg.transforms import OrientSlices, read_volume
from monai_mmseg.visualize import Case, overlay_figure

RESULTS = ROOT / "benchmarks" / "results"
Slabs = Sequence[tuple[int, int]]  # first axial slice from below, one past the last


class Volume(NamedTuple):
    """One image and what is done with its slices."""

    image: str  # below the real data, without ending
    label: str
    train: Slabs
    validation: Slabs
    held_out: Slabs


class Study(NamedTuple):
    """A CT and an MR of different people."""

    volumes: Mapping[str, Volume]  # by modality
    labels: Mapping[int, str]
    classes: Mapping[int, tuple[int, ...]]  # label: values in the files
    window: tuple[int, int]  # HU that the network and the picture tell apart
    overrides: Mapping[str, Any]


STUDIES = {
    "abdomen": Study(
        {
            "ct": Volume(
                "abdomen_ct_mr/ct/ct",
                "abdomen_ct_mr/ct/seg",
                train=[(0, 9), (13, 22)],
                validation=[(26, 30)],
                held_out=[(10, 12), (23, 25)],
            ),
            "mr": Volume(
                "abdomen_ct_mr/mr/mr",
                "abdomen_ct_mr/mr/seg",
                train=[(0, 8), (12, 17)],
                validation=[(18, 20)],
                held_out=[(9, 11)],
            ),
        },
        labels={0: "background", 1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"},
        classes={1: (1,), 2: (2,), 3: (3,), 4: (4,)},
        window=(-160, 240),
        overrides={"pixdim": [5.0, 5.0, 3.0], "spatial_size": [80, 64, 8]},
    ),
    "spine": Study(
        {
            "ct": Volume(
                "spine_ct_mr/ct/ct",
                "spine_ct_mr/ct/subreg",
                train=[(0, 14), (20, 33)],
                validation=[(40, 47)],
                held_out=[(15, 19), (34, 38)],
            ),
            "mr": Volume(
                "spine_ct_mr/mri/t2",
                "spine_ct_mr/mri/subreg",
                train=[(0, 14), (20, 33)],
                validation=[(44, 52)],
                held_out=[(15, 19), (34, 38)],
            ),
        },
        labels={0: "background", 1: "arch and processes", 2: "vertebral body"},
        classes={1: tuple(range(41, 49)), 2: (49, 50, 62)},
        window=(-200, 1000),
        overrides={"pixdim": [1.5, 1.5, 1.5], "spatial_size": [80, 80, 8]},
    ),
}
TRAINING = {"batch_size": 1, "learning_rate": 0.002, "lr_decay_steps": 40, "max_epochs": 8, "epoch_length": 30}


def slab(volume: Any, first: int, end: int) -> Any:
    """Axial slices of an image in its own orientation, from below; they keep their place in the scanner."""
    codes = nib.aff2axcodes(volume.affine)
    axis = next(a for a, code in enumerate(codes) if code in "SI")
    count = volume.shape[axis]
    first, end = (first, end) if codes[axis] == "S" else (count - end, count - first)
    return volume.slicer[tuple(slice(first, end) if a == axis else slice(None) for a in range(3))]


def write_data(study: Study, folder: Path) -> Path:
    """Slabs to train on, the whole volumes to test on, and the datalist."""
    content: dict[str, Any] = {
        "name": "real CT and MR",
        "modalities": list(study.volumes),
        "labels": {str(value): name for value, name in study.labels.items()},
        "training": [],
        "test": [],
    }
    for modality, volume in study.volumes.items():
        image = nib.load(real_data() / f"{volume.image}.nii.gz")
        stored: Any = nib.load(real_data() / f"{volume.label}.nii.gz")
        values = np.asarray(stored.dataobj)
        known = sum(label * np.isin(values, old) for label, old in study.classes.items())
        label = nib.Nifti1Image(np.asarray(known, dtype=np.uint8), stored.affine)

        def add(section: str, subject: str, parts: tuple[Any, Any], **more: Any) -> None:
            item = {"image": f"{subject}.nii.gz", "label": f"{subject}_label.nii.gz"}
            folder.mkdir(parents=True, exist_ok=True)
            for key, part in zip(item, parts, strict=True):
                nib.save(part, folder / item[key])
            content[section].append({**item, "modality": modality, "subject": subject, **more})  # noqa: B023

        for fold, slabs in enumerate((volume.validation, volume.train)):
            for first, end in slabs:
                name = f"{modality}_{first:02d}_{end - 1:02d}"
                add("training", name, (slab(image, first, end), slab(label, first, end)), fold=fold)
        add("test", f"{modality}_whole", (image, label))
    write_json(folder / "datalist.json", content)
    return folder


def held_out(path: Path, slabs: Slabs) -> Any:
    """Held-out slices of a volume, one after the other: shape (rows, columns, slices), as they are displayed."""
    volume: Any = OrientSlices("axial")(read_volume(path))
    values: NDArray[np.float32] = np.asarray(volume[0])
    above = np.asarray(volume.affine)[2, 2] < 0
    count = values.shape[2]
    order = [count - 1 - z if above else z for first, end in slabs for z in range(first, end)]
    return values[:, :, order]


def dice(study: Study, work: Path, name: str = "ours") -> dict[str, dict[str, float]]:
    """Dice of each class on the held-out slices."""
    found = {}
    for modality, volume in study.volumes.items():
        prediction, label = (
            held_out(path, volume.held_out).round().astype(int) for path in files(work, modality, name)[1:]
        )
        scores = score_volume(prediction, label, labels=study.labels, spacing=(1.0, 1.0, 1.0))
        found[modality] = of_classes(score for score in scores if score.flag != "empty")
    return found


def of_classes(scores: Iterable[Score]) -> dict[str, float]:
    """Class to Dice, of one volume."""
    return {score.case["class"]: score.values["dice"] for score in scores}


def files(work: Path, modality: str, name: str = "ours") -> tuple[Path, Path, Path]:
    """Image, prediction of a method and label of a whole volume."""
    data = work / "data"
    predicted = sorted((work / name / "predictions").glob(f"{modality}_whole*.nii.gz"))
    return data / f"{modality}_whole.nii.gz", predicted[0], data / f"{modality}_whole_label.nii.gz"


def run_study(study: Study, work: Path, run: Run, bundle: str) -> dict[str, Any]:
    """Train what is missing and evaluate; the data lie beside the folders of the runs."""
    data = write_data(study, work / "data")
    overrides = {"labels": {str(k): v for k, v in study.labels.items()}, **TRAINING, **study.overrides}
    result = train_and_evaluate(run, work / run.name, data, bundle=bundle, overrides=overrides, echo=print)
    overrides = {**run.overrides, **overrides}
    return {
        "slices": {
            modality: {part: sum(end - first for first, end in getattr(volume, part)) for part in ("train", "held_out")}
            for modality, volume in study.volumes.items()
        },
        "overrides": overrides,
        "seconds": result.seconds,
        "dice_held_out": dice(study, work, run.name),
        "dice_whole": whole(result.table),
    }


def whole(table: ScoreTable) -> dict[str, dict[str, float]]:
    """Dice of each class on the whole volumes, slices that were trained on among them."""
    return {m: of_classes(table.select(modality=m)) for m in table.cases("modality")}


def markdown(results: Mapping[str, Any]) -> str:
    """One table a data set."""
    rows = []
    for name, one in results.items():
        slices = [
            f"{m.upper()} {found['held_out']} held out, {found['train']} trained on"
            for m, found in one["slices"].items()
        ]
        rows += [f"{name}: one network; axial slices of {'; '.join(slices)}. {one['seconds']:.0f} s.", ""]
        body = [
            [modality.upper(), organ, *(f"{one[part][modality].get(organ, float('nan')):.3f}" for part in PARTS)]
            for modality in one["dice_held_out"]
            for organ in one["dice_whole"][modality]
        ]
        rows += [*table_lines(["image", "class", *PARTS.values()], body, texts=(0, 1)), ""]
    return "\n".join(rows)


PARTS = {"dice_held_out": "Dice, held-out slices", "dice_whole": "Dice, whole volume"}


def draw(study: Study, work: Path, path: Path, name: str = "ours") -> None:
    """Held-out slices of CT and MR with prediction and label."""
    cases = []
    for modality, volume in study.volumes.items():
        image, prediction, label = (held_out(file, volume.held_out) for file in files(work, modality, name))
        if modality == "ct":
            image = image.clip(*study.window)
        title = f"{modality.upper()}: held-out axial slices"
        cases.append(Case(title, image, label.round().astype(int), prediction.round().astype(int)))
    figure = overlay_figure(cases, study.labels, slices=4)
    figure.savefig(path, dpi=80, facecolor=figure.get_facecolor(), pil_kwargs={"quality": 62})


def main() -> None:
    """Run what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/ummkd_real"))
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    arguments = parser.parse_args()
    path = RESULTS / "ummkd_real.json"
    results = read_json(path) if path.is_file() else {}
    for name in arguments.studies:
        work = arguments.work / name
        run = Run("ours", ("demo",), {"ct_window": list(STUDIES[name].window)})
        results[name] = run_study(STUDIES[name], work, run, "ummkd_3d")
        draw(STUDIES[name], work, RESULTS / f"ummkd_real_{name}.jpg")
        write_json(path, results)
        path.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
