# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Datalists of real images, one person a modality, for the studies ``benchmarks/studies/*_real_*.json``.

    python -m benchmarks.real_images
    mmseg compare benchmarks/studies/dafnet_real_cord.json --out runs/dafnet_real_cord
    mmseg compare benchmarks/studies/unpaired_real_spine.json --out runs/unpaired_real_spine

* ``cord`` (a cervical spinal cord, T1w labelled, T2*w not) and ``brain`` (the MNI average brain, T1 labelled, T2 not;
  CSF, grey and white matter): one registered volume in two contrasts. ``cord_moved``, ``brain_moved``: the target moved
  by some millimetres, which its header does not tell, so that labels of the source lie beside it.
* ``abdomen`` (liver, kidneys, spleen; the labels are themselves predictions of TotalSegmentator) and ``spine``
  (vertebral bodies with the endplates, which only the MR names, and all that is behind them): a CT and an MR of
  different people.

Slabs of axial slices stand in for subjects: some are trained on, others are held out, with slices between them that
nobody uses. Of one person, held-out slabs are test subjects. Of different people there are four datalists
(``abdomen/slabs_0`` to ``slabs_3``), each of which holds out other slabs, so that every slice is tested once;
test images are the whole volumes, whose labels count on held-out slices alone. This shows that bundles handle real
files and carry labels across contrasts; with one person a modality it cannot show that a network generalises to other
people.

The images are read from ``MMSEG_REAL_DATA`` (default ``../shared/real_data``); datalists go to ``runs/real_images``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from benchmarks import ROOT
from monai_mmseg.files import write_json

OUT = ROOT / "runs" / "real_images"
IGNORE = 255
MOVED_MM = (6.0, -4.0)
"""How far the target's images and labels are moved along the first two axes."""
FOLDS = 4
"""Of different people: ways to hold out two of eight slabs."""


class Slabs(NamedTuple):
    """Axial slices from below: first, one past the last."""

    train: Sequence[tuple[int, int]]
    validation: Sequence[tuple[int, int]]
    test: Sequence[tuple[int, int]]


class RealSet(NamedTuple):
    """A volume of each modality, and what is done with its slices."""

    files: Mapping[str, tuple[str, str]]  # modality to image and label, below the real data, without ending
    labels: Mapping[int, str]
    slabs: Mapping[str, Slabs] = {}  # of one person
    target: str = ""  # of one person: its labels are for tests alone; "": of different people
    classes: Mapping[int, tuple[int, ...]] = {}  # label to values in the files; default: the same


CORD = Slabs(train=[(2, 6), (11, 14), (14, 16)], validation=[(0, 2)], test=[(7, 8), (8, 9), (9, 10)])
BRAIN = Slabs(
    train=[(12, 20), (28, 36), (44, 52), (60, 66)],
    validation=[(66, 68)],
    test=[(22, 26), (38, 42), (54, 58), (70, 73)],
)
SETS = {
    "cord": RealSet(
        {
            "t1": ("spinal_cord_mr/sub-unf01/t1", "spinal_cord_mr/sub-unf01/t1_seg"),
            "t2star": ("spinal_cord_mr/sub-unf01/t2star", "spinal_cord_mr/sub-unf01/t2star_seg"),
        },
        {0: "background", 1: "spinal cord"},
        {"t1": CORD, "t2star": CORD},
        target="t2star",
    ),
    "brain": RealSet(
        {one: (f"brain_template/avg152/{one}", "brain_template/avg152/seg") for one in ("t1", "t2")},
        {0: "background", 1: "CSF", 2: "grey matter", 3: "white matter"},
        {"t1": BRAIN, "t2": BRAIN},
        target="t2",
    ),
    "abdomen": RealSet(
        {one: (f"abdomen_ct_mr/{one}/{one}", f"abdomen_ct_mr/{one}/seg") for one in ("ct", "mr")},
        {0: "background", 1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"},
    ),
    "spine": RealSet(
        {
            "ct": ("spine_ct_mr/ct/ct", "spine_ct_mr/ct/subreg"),
            "mr": ("spine_ct_mr/mri/t2", "spine_ct_mr/mri/subreg"),
        },
        {0: "background", 1: "arch and processes", 2: "vertebral body"},
        classes={1: tuple(range(41, 49)), 2: (49, 50, 62)},
    ),
}


def real_data() -> Path:
    """Folder of the real images."""
    return Path(os.environ.get("MMSEG_REAL_DATA") or ROOT.parent / "shared" / "real_data")


def slabs_of_fold(depth: int, fold: int) -> Slabs:
    """Two of eight slabs held out, half of the volume apart; the one in the middle between them watches.

    Args:
        depth: number of slices.
        fold: 0 to ``FOLDS - 1``.

    Raises:
        ValueError: there is no such fold.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold must be 0 to {FOLDS - 1}, got {fold}.")
    edges = [round(depth * number / (2 * FOLDS)) for number in range(2 * FOLDS + 1)]
    test = [(edges[number], edges[number + 1]) for number in (fold, fold + FOLDS)]
    watching = (fold + FOLDS // 2) % (2 * FOLDS)
    validation = (edges[watching], edges[watching + 1])
    free = [True] * depth
    for first, end in test:
        free[max(0, first - 1) : end + 1] = [False] * (min(depth, end + 1) - max(0, first - 1))
    free[slice(*validation)] = [False] * (validation[1] - validation[0])
    bounds = [at for at in range(depth + 1) if (at > 0 and free[at - 1]) != (at < depth and free[at])]
    return Slabs(list(zip(bounds[::2], bounds[1::2], strict=True)), [validation], test)


def write_set(images: RealSet, folder: Path, moved: Sequence[float] = (0.0, 0.0), fold: int = 0) -> Path:
    """Cut the volumes, which keep their place in the scanner, and write the datalist.

    Labels of the target of training slabs are not even written: nothing can read them by mistake.

    Args:
        images: what to cut.
        folder: gets the files.
        moved: millimetres that the target is moved.
        fold: of different people: which slabs are held out.

    Returns:
        The datalist.
    """
    training: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    for modality, (image_file, label_file) in images.files.items():
        image: Any = nib.load(real_data() / f"{image_file}.nii.gz")
        label = _label(images, real_data() / f"{label_file}.nii.gz")
        if modality == images.target:
            image, label = (_moved(one, moved) for one in (image, label))
        slabs = images.slabs[modality] if images.target else slabs_of_fold(_depth(image), fold)
        of = "slices" if images.target else modality
        for part, pieces in enumerate((slabs.validation, slabs.train)):
            for first, end in pieces:
                cut = (slab(image, first, end), None if modality == images.target else slab(label, first, end))
                training.append({**_item(folder, _name(of, first, end), modality, *cut), "fold": part})
        if images.target:
            cuts = [(_name(of, *piece), slab(image, *piece), slab(label, *piece)) for piece in slabs.test]
        else:
            name = "_and".join(_name("", *piece) for piece in slabs.test)
            cuts = [(f"{of}{name}", image, _only(label, slabs.test))]
        test += [_item(folder, subject, modality, *cut) for subject, *cut in cuts]
    content = {
        "name": f"real images, {folder.name if images.target else f'{folder.parent.name}, {folder.name}'}",
        "modalities": list(images.files),
        **({"target": images.target} if images.target else {"ignore": IGNORE}),
        "labels": {str(value): name for value, name in images.labels.items()},
        "training": training,
        "test": test,
    }
    write_json(folder / "datalist.json", content)
    return folder / "datalist.json"


def slab(volume: Any, first: int, end: int) -> Any:
    """Axial slices of an image in its own orientation, from below; they keep their place in the scanner."""
    axis, at = _axial(volume, first, end)
    return volume.slicer[tuple(at if one == axis else slice(None) for one in range(3))]


def _axial(volume: Any, first: int, end: int) -> tuple[int, slice]:
    axis, upwards = _up(volume)
    count = volume.shape[axis]
    return axis, slice(first, end) if upwards else slice(count - end, count - first)


def _up(volume: Any) -> tuple[int, bool]:
    """The axis between axial slices, and whether it points up."""
    codes = nib.aff2axcodes(volume.affine)
    axis = next(a for a, code in enumerate(codes) if code in "SI")
    return axis, codes[axis] == "S"


def _depth(volume: Any) -> int:
    return int(volume.shape[_up(volume)[0]])


def _only(label: Any, pieces: Iterable[tuple[int, int]]) -> Any:
    """A label that says nothing outside of some slabs."""
    values = np.asanyarray(label.dataobj)
    counts = np.zeros(values.shape, dtype=bool)
    for axis, at in (_axial(label, *piece) for piece in pieces):
        counts[tuple(at if one == axis else slice(None) for one in range(3))] = True
    return nib.Nifti1Image(np.where(counts, values, IGNORE).astype(np.uint8), label.affine)


def _label(images: RealSet, path: Path) -> Any:
    stored: Any = nib.load(path)
    values = np.asarray(stored.dataobj)
    if images.classes:
        values = np.sum([value * np.isin(values, old) for value, old in images.classes.items()], axis=0)
    return nib.Nifti1Image(values.astype(np.uint8), stored.affine)


def _moved(volume: Any, by: Sequence[float]) -> Any:
    affine = volume.affine.copy()
    affine[:2, 3] += by
    return nib.Nifti1Image(np.asanyarray(volume.dataobj), affine)


def _name(of: str, first: int, end: int) -> str:
    return f"{of}_{first:02d}_{end - 1:02d}"


def _item(folder: Path, subject: str, modality: str, image: Any, label: Any | None) -> dict[str, Any]:
    item = {"image": f"{subject}/{modality}.nii.gz"}
    (folder / subject).mkdir(parents=True, exist_ok=True)
    nib.save(image, folder / item["image"])
    if label is not None:
        item["label"] = f"{subject}/{modality}_label.nii.gz"
        nib.save(label, folder / item["label"])
    return {**item, "modality": modality, "subject": subject}


def main(words: Sequence[str] | None = None) -> None:
    """Write the datalists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    arguments = parser.parse_args(words)
    for name in arguments.sets:
        if SETS[name].target:
            print(write_set(SETS[name], arguments.out / name))
            print(write_set(SETS[name], arguments.out / f"{name}_moved", MOVED_MM))
            continue
        for fold in range(FOLDS):
            print(write_set(SETS[name], arguments.out / name / f"slabs_{fold}", fold=fold))


if __name__ == "__main__":
    main()
