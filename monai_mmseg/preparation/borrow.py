# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Give images without a label the predictions of any method as labels, in a datalist that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_mmseg.data.borrowed import SOURCE, borrowed_text
from monai_mmseg.data.datalist import read_datalist, read_raw, stored_item
from monai_mmseg.data.mask_record import RECORD, recorded_masks
from monai_mmseg.data.originals import spare_listed
from monai_mmseg.evaluation.files import ENDINGS, find_prediction, image_stem, prediction_files
from monai_mmseg.outputs import check_output_file, write_new_json
from monai_mmseg.preparation.check import digest, examine_form, examine_volumes

SECTION = "training"
"""The only one whose images may borrow labels: what is tested needs true ones."""


class Borrowed(NamedTuple):
    """What :func:`borrow_labels` wrote."""

    path: Path
    subjects: list[str]  # whose image borrows a label
    labelled: list[str]  # whose image keeps its own
    earlier: str  # how many of these are borrowed too, and from what; "" if none is
    without: list[str]  # whose image has neither label nor prediction
    warnings: list[str]  # such as labels without foreground


def borrow_labels(
    datalist: str | Path,
    predictions: Mapping[str, str | Path] | str | Path,
    out: str | Path,
    *,
    modality: str,
    method: str,
    overwrite: bool = False,
) -> Borrowed:
    """Write a datalist whose training images of a modality borrow the labels that they lack from predictions.

    When to use: to train a plain network of one modality with pseudo-labels of any origin: masks registered from
    another modality, predictions of an earlier network. Labels that are there stay; the label of an image that borrows
    has ``label_source``, and is never scored against: evaluations leave it out, a test section refuses it. Files stay
    where they are: the new list names them.

    Args:
        datalist: JSON file; it stays as it is.
        predictions: folder of label volumes (see :func:`~monai_mmseg.evaluation.files.find_prediction`), or subject to
            file. Images without one stay unlabelled.
        out: JSON file to write; paths in it are relative to its folder.
        modality: whose training images.
        method: what made the predictions, ``label_source`` of the new labels.
        overwrite: whether a file that is there already may be replaced.

    Returns:
        The file, and who borrows.

    Raises:
        ValueError: if the modality is not there or has all labels, no prediction is of one of its images, one lies on
            another grid than its image or holds other values than ``labels``, the ``baseline.json`` of the folder does
            not name it, or `out` is one of the files read.
        OSError: if `out` is there already, or cannot be written.

    Examples:
        >>> import json, os, tempfile
        >>> import nibabel
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for file in ("lge", "lge_seg"):
        ...         volume = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) % 2
        ...         nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), os.path.join(name, f"{file}.nii.gz"))
        ...     content = {"name": "hearts", "modalities": ["lge"], "labels": {"0": "background", "1": "LV"}}
        ...     content["training"] = [{"image": "lge.nii.gz", "modality": "lge", "subject": "s1"}]
        ...     _ = Path(name, "datalist.json").write_text(json.dumps(content))
        ...     given = f"{name}/datalist.json", name, f"{name}/new.json"
        ...     made = borrow_labels(*given, modality="lge", method="register")
        ...     made.subjects, read_datalist(made.path).items("training")[0]["label_source"]
        (['s1'], 'register')
    """
    if not method.strip():
        raise ValueError("method must name what made the predictions, got nothing.")
    check_output_file(out, overwrite=overwrite)
    spare_listed([Path(out)], datalist)
    listed = read_datalist(datalist)
    training = listed.sections.get(SECTION, [])
    mine = [item for item in training if item["modality"] == modality]
    bare = [item for item in mine if not item.get("label")]
    earlier = borrowed_text(mine)
    if not bare:
        again = f"; {earlier} of them borrowed: give the list from before, to borrow anew" if earlier else ""
        what = f"every training image of {modality!r} has a label" if mine else f"no training image is of {modality!r}"
        raise ValueError(f"{datalist}: {what}, there are {listed.modalities}: nothing borrows{again}.")
    files = _files(predictions, bare)
    new = [one["modality"] == modality and not one.get("label") and one["subject"] in files for one in training]
    sections = {
        **listed.sections,
        SECTION: [
            {**item, "label": str(files[item["subject"]].resolve()), SOURCE: method} if borrows else item
            for item, borrows in zip(training, new, strict=True)
        ],
    }
    content, root = read_raw(datalist)[0], Path(out).resolve().parent
    content |= {name: [stored_item(item, root) for item in items] for name, items in sections.items()}
    warnings = _check(content, sections, Path(out), {f"{SECTION}[{at}]" for at, borrows in enumerate(new) if borrows})
    path = write_new_json(out, content, overwrite=overwrite)
    without = [item["subject"] for item in bare if item["subject"] not in files]
    labelled = [item["subject"] for item in mine if item.get("label")]
    return Borrowed(path, list(files), labelled, earlier, without, warnings)


def _files(predictions: Mapping[str, str | Path] | str | Path, items: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Subject to its prediction, of those that have one."""
    if isinstance(predictions, Mapping):
        files = {name: Path(predictions[name]) for item in items if (name := item["subject"]) in predictions}
        looked = f"for {', '.join(list(predictions)[:3])}" if predictions else "none"
    else:
        if not Path(predictions).is_dir():
            raise ValueError(f"predictions must be a folder of label volumes, got {predictions}.")
        files = {
            one["subject"]: find_prediction(predictions, one) for one in items if prediction_files(predictions, one)
        }
        _check_record(Path(predictions), files)
        there = sorted(path for path in Path(predictions).rglob("*") if path.name.endswith(ENDINGS))
        looked = f"such as {there[0]}" if there else "no label volume"
    if not files:
        first = f"{image_stem(items[0]['image'])}[_seg].nii.gz of subject {items[0]['subject']!r}"
        raise ValueError(
            f"predictions must be of training images without a label ({len(items)}, the first wants {first}), got "
            f"{looked}: are they of another section, or of other images?"
        )
    return files


def _check_record(folder: Path, files: Mapping[str, Path]) -> None:
    """Refuse masks beside the record of a baseline that does not name them: the source's label is gone, or another."""
    known = recorded_masks(folder)
    if known is not None and (odd := [subject for subject in files if subject not in known]):
        some = f"{', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''}"
        raise ValueError(
            f"{folder}: {RECORD} does not name the masks of {some}, such as {files[odd[0]]}: they are of an earlier "
            "run or of another method. Remove them, or keep them in a folder of their own."
        )


def _check(
    content: Mapping[str, Any], sections: Mapping[str, Sequence[Mapping[str, Any]]], out: Path, new: set[str]
) -> list[str]:
    """Warnings of what `mmseg data check` would say of the labels that are new; what it calls broken is an error."""
    absolute = {  # the folder of the list may not be there yet
        name: [
            {**stored, **{key: item[key] for key in ("image", "label") if key in item}}
            for stored, item in zip(content[name], items, strict=True)
        ]
        for name, items in sections.items()
    }
    report, entries = examine_form({**content, **absolute}, [], out)
    report.warnings.clear()  # of the list, not of what is new
    report.modalities = list(dict.fromkeys(entry.item["modality"] for entry in entries if entry.where in new))
    examine_volumes(report, [entry for entry in entries if entry.where in new])
    if report.errors:
        listed = "\n".join(f"  - {message}" for message in digest(report.errors, most=2))
        raise ValueError(f"predictions cannot be labels:\n{listed}")
    return digest(report.warnings)
