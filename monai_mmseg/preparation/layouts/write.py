# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Write what one subject of a data set needs: labels with the classes of the datalist, and images that are made."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_mmseg.errors import short_message
from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.names import first_names
from monai_mmseg.preparation.intensities import image_intensities
from monai_mmseg.preparation.layouts.label_map import value_spans
from monai_mmseg.preparation.layouts.layout import Case, Step
from monai_mmseg.preparation.layouts.pictures import natural_order, read_pictures, read_series
from monai_mmseg.transforms.read_volume import check_image_values, check_same_grid, read_volume

IMAGES, LABELS, UNFIT = "images", "labels", "unfit"  # unfit: the label lies on another image's grid alone
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class OtherGrid(ValueError):
    """A label that lies elsewhere than its image."""


class Subject(NamedTuple):
    """One subject of a layout, or one visit of a person, as a process gets it."""

    cases: tuple[Case, ...]
    names: tuple[str, ...]  # of the files of each case, without folder and ending
    values: Mapping[int, int]
    steps: Sequence[Step]
    folder: Path  # where images and labels are written
    done: Path  # JSON file that is written when all are


def write_subject(subject: Subject) -> dict[str, Any] | str:
    """Read, check, change and write the images and labels of one subject.

    A label that several images share is that of those whose grid it has; one at least.

    Args:
        subject: what to do.

    Returns:
        Facts for the datalist and the record; or, if something cannot be used, all that is wrong, in one line.

    Raises:
        OSError: if the disk is full.
        MemoryError: if there is not enough memory.
    """
    problems, facts, sound, reader = [], [], [], _Reader()
    unfit: list[tuple[Case, str]] = []
    for case, name in zip(subject.cases, subject.names, strict=True):
        try:
            try:
                facts.append(_write_case(case, name, subject, reader))
                sound.append(case)
            except OtherGrid as error:
                unfit.append((case, str(error)))
                facts.append({**_write_case(case._replace(label=None), name, subject, reader), UNFIT: True})
        except Exception as error:
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE):
                raise
            text = str(error) if isinstance(error, ValueError) else short_message(error)
            problems.append(" ".join(text.split()))
    placed = {case.label for case in sound}
    problems += [reason for case, reason in unfit if case.label not in placed]
    if problems:
        sound += [case for case, _ in unfit if case.label in placed]
        return with_others(" ".join(dict.fromkeys(problems)), sound)
    try:
        found = {"cases": facts, "inputs": reader.hashes()}
    except OSError as error:
        return short_message(error)
    write_json(subject.done, found)
    return found


def with_others(reason: str, others: Sequence[Case]) -> str:
    """A reason to leave out an examination, and what goes with what is broken.

    Args:
        reason: what is wrong.
        others: sound images of the examination, or of the person.

    Returns:
        The reason with their modalities, and visits where they are of several.

    Examples:
        >>> with_others("a_t2.nii.gz: cannot be read.", [Case("a", "t1", Path("a_t1.nii.gz"))])
        'a_t2.nii.gz: cannot be read; with its other images: t1'
    """
    visits = len({one.visit for one in others}) > 1
    names = [f"{one.modality} of {one.visit}" if visits and one.visit else one.modality for one in others]
    return f"{reason.removesuffix('.')}; with its other images: {first_names(names)}" if names else reason


def makes_image(case: Case, steps: Sequence[Step]) -> bool:
    """Whether the image of a case is written anew, not used where it is.

    Args:
        case: the case.
        steps: of its layout.

    Returns:
        The answer.
    """
    return bool(steps or case.frame is not None or case.series or case.image.is_dir())


def _write_case(case: Case, name: str, subject: Subject, reader: _Reader) -> dict[str, Any]:
    image, label = reader.read(case)
    check_image_values(image)
    if label is not None:
        table = case.values or subject.values
        label.set_array(torch.from_numpy(map_values(label.as_tensor().numpy(), table, str(case.label))))
    for step in subject.steps:
        image, label = step(image, label, case)
    facts: dict[str, Any] = {"intensity": image_intensities(image.as_tensor().numpy()), "outputs": []}
    if makes_image(case, subject.steps):
        facts[IMAGES] = f"{IMAGES}/{name}.nii.gz"
        facts["outputs"].append(_write(subject.folder, facts[IMAGES], _small(image.as_tensor()[0].numpy()), image))
    if label is not None:
        array = label.as_tensor()[0].numpy().astype(np.uint8)
        content = hashlib.sha256(array.tobytes() + np.asarray(label.affine).tobytes()).hexdigest()
        path = reader.written.setdefault((case.visit, str(array.shape), content), f"{LABELS}/{name}.nii.gz")
        facts[LABELS] = path  # images on one grid may share a label
        if path == f"{LABELS}/{name}.nii.gz":
            facts["outputs"].append(_write(subject.folder, path, array, label))
    return facts


def _write(folder: Path, path: str, array: NDArray[Any], volume: MetaTensor) -> dict[str, Any]:
    write_nifti(folder / path, array, np.asarray(volume.affine, dtype=np.float64))
    return {"file": path, **_hash([folder / path])}


class _Reader:
    """Volumes of one subject: a 4D file that holds several of its images is read once."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Path, MetaTensor]] = {}
        self._inputs: dict[Path, list[Path]] = {}
        self.written: dict[tuple[str | None, str, str], str] = {}  # visit and content of a label to its file

    def read(self, case: Case) -> tuple[MetaTensor, MetaTensor | None]:
        """Image and label ``(1, X, Y, Z)``, the label with the values of its file."""
        if case.series or case.image.is_dir():
            return self._slices(case)
        images = self._volumes("image", case.image)
        image = _one(images, case.frame, "image", case.image)
        if case.label is None:
            return image, None
        labels = self._volumes("label", case.label)
        if len(labels) not in (1, len(images)):
            raise ValueError(f"{case.label}: the label holds {len(labels)} volumes, its image {len(images)}.")
        label = _one(labels, case.frame if len(labels) > 1 else None, "label", case.label)
        return image, _on_axes_of(image, label, case)

    def _slices(self, case: Case) -> tuple[MetaTensor, MetaTensor | None]:
        found, places = read_series(case.image, case.series)
        files = sorted(case.series, key=natural_order) or _files(case.image)
        self._inputs[files[0] if case.series else case.image] = files
        image = MetaTensor(torch.from_numpy(found.array.astype(np.float32)[None]), affine=found.affine)
        image.meta["filename_or_obj"] = str(case.image)
        if case.label is None:
            return image, None
        if case.label.is_dir():
            self._inputs[case.label] = _files(case.label)
            return image, MetaTensor(
                torch.from_numpy(read_pictures(case.label, found, places)[None]), affine=image.affine
            )
        label = _one(self._volumes("label", case.label), None, "label", case.label)
        return image, _on_axes_of(image, label, case)

    def _volumes(self, kind: str, path: Path) -> MetaTensor:
        self._inputs[path] = [path]
        if kind not in self._kept or self._kept[kind][0] != path:
            self._kept.pop(kind, None)  # before the next is read: two are not to be held at once
            self._kept[kind] = (path, read_volume(path))
        return self._kept[kind][1]

    def hashes(self) -> list[dict[str, Any]]:
        """SHA-256 and size of all files that were read; of a folder, of its files one after the other."""
        found = []
        for path, files in self._inputs.items():
            # of a series that shares its folder with others, the names of all its files
            names = {"names": [one.name for one in files]} if path in files and len(files) > 1 else {}
            found.append({"file": str(path), **_hash(files), **names})
        return found


def _one(volumes: MetaTensor, frame: int | None, what: str, path: Path) -> MetaTensor:
    if frame is None and len(volumes) > 1:
        raise ValueError(f"{path}: one {what} is one 3D volume, this file holds {len(volumes)}.")
    place = frame or 0
    if not 0 <= place < len(volumes):
        raise ValueError(f"{path}: there is no volume {place}, the file holds {len(volumes)}.")
    one: MetaTensor = volumes[place : place + 1].clone()
    return one


def _files(folder: Path) -> list[Path]:
    return sorted((one for one in folder.iterdir() if one.is_file() and one.name[0] != "."), key=natural_order)


def _hash(files: Sequence[Path]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
    return {"sha256": digest.hexdigest(), "bytes": size, **({"files": len(files)} if len(files) > 1 else {})}


def _on_axes_of(image: MetaTensor, label: MetaTensor, case: Case) -> MetaTensor:
    """The label of an image, its axes turned to those of the image where another program wrote them otherwise."""
    there, here = (np.asarray(one.affine, dtype=np.float64) for one in (image, label))
    turn = np.linalg.solve(there[:3, :3], here[:3, :3])
    whole = np.round(turn)
    order = next((p for p in permutations(range(3)) if (np.abs(whole)[list(range(3)), list(p)] == 1).all()), None)
    turned = order is not None and np.abs(whole).sum() == 3 and np.abs(turn - whole).max() < 1e-3
    if order is not None and turned and not np.array_equal(whole, np.eye(3)):
        flipped = [axis for axis in range(3) if whole[axis, order[axis]] < 0]
        array = label.as_tensor().permute(0, *(1 + axis for axis in order)).flip([1 + axis for axis in flipped])
        move = np.eye(4)  # voxel of the turned array to voxel of the file
        move[:3, :3] = np.linalg.inv(whole)
        for axis in flipped:
            move[order[axis], 3] = array.shape[1 + axis] - 1
        label = MetaTensor(array.contiguous(), affine=here @ move)
        label.meta["filename_or_obj"] = str(case.label)
    if image.shape[1:] != label.shape[1:]:
        shapes = [tuple(one.shape[1:]) for one in (label, image)]
        raise OtherGrid(f"{case.label}: the label has shape {shapes[0]}, its image {case.image} {shapes[1]}.")
    try:
        check_same_grid(image, label)
    except ValueError as error:
        raise OtherGrid(str(error)) from error
    return label


def _small(array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers, as scanners write them, in half of the bytes."""
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= -32768 and high <= 32767:
        small = array.astype(np.int16)
        return small if np.array_equal(small, array) else array
    return array


def map_values(values: NDArray[Any], table: Mapping[int, int], name: str) -> NDArray[np.uint8]:
    """Label values of the files as classes of the datalist.

    Args:
        values: whole numbers, any shape.
        table: value to class.
        name: of the file, for the message.

    Returns:
        uint8 array.

    Raises:
        ValueError: if there is a value that the table does not have.

    Examples:
        >>> map_values(np.array([0, 500, 205]), {0: 0, 205: 1, 500: 3}, "a.nii").tolist()
        [0, 3, 1]
    """
    given = np.asarray(values)
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise ValueError(f"{name}: label values must be some of {value_spans(table)}, found NaN or infinite ones.")
    numbers = given.astype(np.int32)
    low, high = (int(end) for end in (numbers.min(), numbers.max()))
    if high - low >= 1 << 24:
        raise ValueError(f"{name}: label values must be some of {value_spans(table)}, found {low} to {high}.")
    # a table to look up, since sorting a volume of 1e8 values takes a minute
    present = np.zeros(high - low + 1, dtype=bool)
    present[numbers - low] = True
    wrong: list[float] = [value for value in (np.flatnonzero(present) + low).tolist() if value not in table]
    if not np.array_equal(numbers, given):
        whole = numbers == given  # what is cut off of the others is no value of the file
        parts = np.unique(given[~whole])[:10]
        wrong = [value for value in np.unique(numbers[whole]).tolist() if value not in table]
        wrong += [float(str(value)) for value in parts]  # 0.9999 in 32 bits, too
    if wrong:
        raise ValueError(f"{name}: label values must be some of {value_spans(table)}, found {wrong[:10]}.")
    classes = np.array([table.get(value, 0) for value in range(low, high + 1)], dtype=np.uint8)
    return classes[numbers - low]
