# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Folders of DICOM files as a scanner or an archive exports them."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from monai_mmseg.names import name_problem
from monai_mmseg.preparation.layouts.layout import Case, Layout, check_folder, require
from monai_mmseg.preparation.layouts.rules import (
    Candidate,
    Rule,
    check_labels,
    find_label,
    first_rule,
    label_classes,
    one_of_each,
    plain_name,
    read_rules,
)
from monai_mmseg.transforms.dicom_headers import number, read_header, text
from monai_mmseg.transforms.dicom_series import DicomSeries, list_series
from monai_mmseg.transforms.image_files import VolumeError

_VOLUMES = ("CT", "MR", "NM", "PT")  # of DICOM's modalities; others are no volumes, or are drawn on some
_SCOUT = r"\b(locali[sz]ers?|scouts?|survey|topogram|scanogram|surview|3[- ]?plane)\b"
# what tells images at one place apart, in the order in which it is looked at
_PHASES = ("TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue", "AcquisitionTime", "InstanceNumber")
_FRAMES = {"first": 0, "last": -1}
_ADVICE = (
    "say which is meant by --rule, such as --rule 't2=SeriesDescription~SPIR' or 'late=EchoTime>5'; of several rules "
    "for one modality the first counts."
)


def read_dicom(
    folder: str | Path,
    *,
    rule: Sequence[str] | None = None,
    subject: str = "auto",
    frame: str | None = None,
    label: str | None = None,
    labels: str | None = None,
    label_of: Sequence[str] | None = None,
    min_slices: int = 3,
) -> Layout:
    """Find the series of patients in a folder of DICOM files: one series, a study, or many patients.

    Folders may be nested and named in any way, and files need no ending. What counts is in the headers. A patient with
    several studies has visits, unless each study brings other modalities. A patient with two series of one modality is
    refused until a rule says which is meant.

    Args:
        folder: where to look; it is not changed.
        rule: which series is which modality, such as ``"t2=SeriesDescription~SPIR"`` or
            ``"late=EchoTime>4&Modality=MR"``: keyword of DICOM, then ``~`` and a regular expression, ``!~``, ``=``, or
            ``<``, ``<=``, ``>``, ``>=`` and a number. The first rule that fits takes a series; those that no rule takes
            are left out. Default: ``ct``, ``mr``, ``pt`` or ``nm``, as the headers have it.
        subject: ``"id"`` names patients by PatientID, ``"folder"`` by the first folder below `folder` (``"folder:2"``
            by the second), ``"auto"`` by PatientID unless these are empty, or one for all folders.
        frame: which of several images at one place (phases of a cine, repetitions): ``"first"``, ``"last"`` or a number
            from 0 in the order of their times.
        label: path of the label volumes below `folder` with ``{subject}``, ``{modality}`` and ``{visit}``, such as
            ``"labels/{subject}_{modality}.nii.gz"``. DICOM SEG and RTSTRUCT are not read; convert them before.
        labels: classes and their values in these files, such as ``"liver=1, spleen=5, spine=41-48"``.
        label_of: modalities whose images the labels were drawn on; default is each for which a file is there.
        min_slices: series of fewer slices are left out, as are localizers.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there is no such folder, or no DICOM image of a volume in it.
        ValueError: if an option cannot be understood, patients cannot be told apart, or no label is where `label` says.
    """
    rules, classes, phase = read_rules(rule or []), label_classes(label, labels), _frame(frame)
    _check_keywords(rules)
    check_folder(folder)
    root = Path(folder).resolve()
    notes: list[str] = []
    unread: dict[Path, str] = {}
    series = _usable(_joined(list_series(root, broken=unread), notes), min_slices, notes)
    if unread and not series:
        raise VolumeError(next(iter(unread.values())))
    require(folder, series, [], "PATIENT/STUDY/SERIES/IM0001 (CT, MR, PT or NM)")
    names = _subjects(series, root, subject, notes)
    taken: list[tuple[str, int, str, DicomSeries]] = []
    untaken: list[DicomSeries] = []
    for one, name in zip(series, names, strict=True):
        found = first_rule(rules, partial(_fact, one)) if rules else (0, one.modality.lower())
        if found is None:
            untaken.append(one)
        else:
            taken.append((name, *found, one))
    if untaken:
        notes.append(f"No rule takes {_listed(untaken)}.")
    if not taken:
        raise ValueError(f"{folder}: no rule takes one of the {len(series)} series: {_listed(series)}.")
    if without := sorted(set(names) - {name for name, *_ in taken}):
        notes.append(f"Patients of whom no rule takes a series: {', '.join(without[:20])}{_more(without, 20)}.")
    visits = _visits(taken, notes)
    candidates = [
        Candidate(name, visits.get((name, one.study_instance_uid)), modality, rank, _described(one), one)
        for name, rank, modality, one in taken
    ]
    chosen, broken = one_of_each(candidates, _ADVICE)
    for name, reason in _owners(unread, series, names, root).items():
        broken.setdefault(name, reason)
    cases = [_case(one, root, phase, (label, label_of), broken) for one in chosen]
    order = dict.fromkeys(one.modality for one in rules) if rules else sorted({one.modality for one in candidates})
    modalities = [name for name in order if any(one.modality == name for one in candidates)]
    if label is not None:
        notes += check_labels(root, label, cases, label_of, modalities)
    cases = [case for case in cases if case.subject not in broken]
    return Layout(
        plain_name(root.name), modalities, classes.labels, classes.values, cases, "", notes=notes, broken=broken
    )


def _case(
    one: Candidate,
    root: Path,
    frame: int | None,
    label: tuple[str | None, Sequence[str] | None],
    broken: dict[str, str],
) -> Case:
    """The case of a chosen series; `broken` learns what is wrong with it."""
    files, problem = _of_one_time(one.source, frame)
    fields = {"subject": one.subject, "modality": one.modality, "visit": one.visit}
    found = find_label(root, label[0], fields, label[1])
    if len(found) > 1:
        problem = f"several labels of {one.modality}: {', '.join(map(str, found))}"
    if problem:
        broken.setdefault(one.subject, problem)
    image = Path(os.path.commonpath([file.parent for file in files]))
    return Case(one.subject, one.modality, image, next(iter(found), None), visit=one.visit, series=files)


def _fact(series: DicomSeries, keyword: str) -> str:
    """What the headers of a series say; what is not listed is read from its first file."""
    if keyword in series.facts:
        return series.facts[keyword]
    pydicom, _ = optional_import("pydicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `read_header`
        header = pydicom.dcmread(series.files[0], stop_before_pixels=True, specific_tags=[keyword], force=True)
    return text(header, keyword)


def _described(series: DicomSeries) -> str:
    return ", ".join([series.described, *series.image_type[2:3]])  # such as M_FFE


def _check_keywords(rules: Sequence[Rule]) -> None:
    datadict, there = optional_import("pydicom.datadict")
    for key in dict.fromkeys(key for rule in rules if there for key, _, _ in rule.conditions):
        if datadict.tag_for_keyword(key) is None:
            known = [entry[4] for entry in datadict.DicomDictionary.values()]
            close = get_close_matches(key, known, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ValueError(f"rule: {key!r} is no keyword of DICOM.{hint}")


def _frame(frame: str | None) -> int | None:
    if frame is None or frame in _FRAMES:
        return None if frame is None else _FRAMES[frame]
    if not re.fullmatch(r"\d+", str(frame)):
        raise ValueError(f"frame must be 'first', 'last' or a number from 0, got {frame!r}.")
    return int(frame)


def _more(names: Collection[str], shown: int = 10) -> str:
    return ", ..." if len(names) > shown else ""


def _listed(series: Iterable[DicomSeries]) -> str:
    """Descriptions of series, with how often each occurs."""
    counts = Counter(one.described.partition(", number ")[0] for one in series)
    texts = [f"{words} ({count} times)" if count > 1 else words for words, count in counts.most_common(10)]
    return "; ".join(texts) + (f"; and {len(counts) - 10} others" if len(counts) > 10 else "")


def _joined(series: Sequence[DicomSeries], notes: list[str]) -> list[DicomSeries]:
    """Series whose files lie in several folders as one; a file that was copied counts once."""
    parts: dict[Any, list[DicomSeries]] = {}
    for one in series:
        # programs that make data anonymous write one UID everywhere
        whose = (one.patient_id, one.study_instance_uid, one.series_number, one.series_instance_uid or one.folder)
        what = (one.series_description, one.protocol_name, one.echo_time, one.image_type)
        parts.setdefault((*whose, *what), []).append(one)
    copies, joined = 0, []
    for several in parts.values():
        if len(several) > 1:
            files = {_identity(file): file for one in several for file in one.files}
            if pair := _overwritten(files, several):
                notes.append(
                    f"{' and '.join(pair)} have one SOPInstanceUID and place, but other pixels. Identifiers were "
                    "overwritten: series of several folders are not taken together."
                )
                joined += several
                continue
            copies += sum(len(one.files) for one in several) - len(files)
            size = (*several[0].size[:2], len(files))
            joined.append(replace(several[0], files=tuple(files.values()), size=size))
        else:
            joined += several
    if copies:
        notes.append(f"{copies} files are copies of others and are left out.")
    return joined


def _identity(file: Path) -> tuple[str, ...]:
    """Equal for copies of a file."""
    header = read_header(file)
    uid = text(header, "SOPInstanceUID")
    return (uid, text(header, "ImagePositionPatient")) if uid else (str(file),)


def _overwritten(files: Mapping[tuple[str, ...], Path], several: Iterable[DicomSeries]) -> list[str]:
    """Two files of one identity that are no copies: anonymised patients may have one UID for all."""
    repeated = ((file, files[_identity(file)]) for one in several for file in one.files)
    pair = next((pair for pair in repeated if pair[0] != pair[1] and len({*map(_pixels_of, pair)}) > 1), ())
    return [Path(*file.parts[-3:]).as_posix() for file in pair]


def _pixels_of(file: Path) -> bytes:
    pydicom, _ = optional_import("pydicom")
    return bytes(pydicom.dcmread(file, force=True).get("PixelData", b""))


def _usable(series: Sequence[DicomSeries], min_slices: int, notes: list[str]) -> list[DicomSeries]:
    """Series of volumes, without localizers."""
    kinds: dict[str, list[DicomSeries]] = defaultdict(list)
    for one in series:
        words = one.series_description or one.protocol_name
        if one.modality not in _VOLUMES:
            drawn = one.modality in ("SEG", "RTSTRUCT", "RTDOSE")
            kinds["not read; convert them to NIfTI" if drawn else "no volumes"].append(one)
        elif "LOCALIZER" in one.image_type or re.search(_SCOUT, words, re.IGNORECASE):
            kinds["localizers"].append(one)
        elif one.size[2] < min_slices:
            kinds[f"of fewer than {min_slices} slices"].append(one)
        else:
            kinds[""].append(one)
    notes += [f"Left out, {what}: {_listed(ones)}." for what, ones in kinds.items() if what]
    return kinds[""]


def _subjects(series: Sequence[DicomSeries], root: Path, how: str, notes: list[str]) -> list[str]:
    """Name of the patient of each series."""
    match = re.fullmatch(r"auto|id|folder(?::([1-9]))?", how)
    if not match:
        raise ValueError(f"subject must be 'auto', 'id', 'folder' or such as 'folder:2', got {how!r}.")
    depth, ids = int(match[1] or 1), [one.patient_id for one in series]
    empty = sum(not one for one in ids)
    folders = [_folder_name(one, root, depth) for one in series]
    if how == "id" and empty:
        raise ValueError(f"{empty} of {len(series)} series have no PatientID; name patients by --subject folder.")
    if how == "auto" and empty:
        notes.append(f"Patients are named by their folders: {empty} of {len(series)} series have no PatientID.")
    elif how == "auto" and _one_id_for_all(series, folders):
        notes.append(
            f"Patients are named by their folders: the PatientID is {ids[0]!r} in all {len(set(folders))} of them. If "
            "that is one person, say --subject id."
        )
    elif not how.startswith("folder"):
        folders = ids
    names = {given: _safe(given) for given in dict.fromkeys(folders)}
    by_name = Counter(name.casefold() for name in names.values())
    if clash := [given for given, name in names.items() if by_name[name.casefold()] > 1]:
        raise ValueError(f"patients {clash} cannot be told apart in names of files; name them by --subject folder.")
    if changed := [f"{given!r} is {name!r}" for given, name in names.items() if given != name]:
        notes.append(f"As names of files: {', '.join(changed[:10])}{_more(changed)}.")
    return [names[given] for given in folders]


def _owners(
    unread: Mapping[Path, str], series: Sequence[DicomSeries], names: Sequence[str], root: Path
) -> dict[str, str]:
    """Patients to whom files that cannot be read belong, and why: those of the nearest folder that is one patient's."""
    beside: dict[Path, set[str]] = defaultdict(set)
    within: dict[Path, set[str]] = defaultdict(set)
    for one, name in zip(series, names, strict=True):
        for folder in {file.parent for file in one.files}:
            beside[folder].add(name)
            for place in (folder, *folder.parents):
                within[place].add(name)
    reasons: dict[str, list[str]] = defaultdict(list)
    for path, reason in unread.items():
        patients = beside[path.parent]
        place = path
        while not patients and place != root:  # a patient of whom no file can be read is named after the folder
            above = within[place.parent]
            if len(above) > 1 or place.parent == root:
                patients = {_safe(place.name)}
            else:
                patients = above
            place = place.parent
        for name in patients:
            reasons[name].append(reason)
    return {name: all_[0] + (f" So are {len(all_) - 1} more." if all_[1:] else "") for name, all_ in reasons.items()}


def _folder_name(series: DicomSeries, root: Path, depth: int) -> str:
    parts = series.folder.relative_to(root).parts
    return parts[min(depth, len(parts)) - 1] if parts else root.name


def _one_id_for_all(series: Sequence[DicomSeries], folders: Sequence[str]) -> bool:
    """Whether PatientID is what an anonymiser wrote everywhere: one for several folders with studies of their own."""
    studies: dict[str, set[str]] = defaultdict(set)
    for one, name in zip(series, folders, strict=True):
        studies[one.study_instance_uid].add(name)
    alone = all(len(names) == 1 for names in studies.values())
    return len({one.patient_id for one in series}) == 1 and len(set(folders)) > 1 and alone


def _safe(name: str) -> str:
    return name if name_problem(name) is None else plain_name(name)


def _visits(taken: Sequence[tuple[str, int, str, DicomSeries]], notes: list[str]) -> dict[tuple[str, str], str]:
    """Patient and study to visit, of patients of whom one modality was acquired in several studies."""
    studies: dict[str, dict[str, str]] = defaultdict(dict)
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, _, modality, one in taken:
        studies[name][one.study_instance_uid] = one.study_date
        seen[name, modality].add(one.study_instance_uid)
    repeated = {name for (name, _), uids in seen.items() if len(uids) > 1}
    together = [name for name, uids in studies.items() if len(uids) > 1 and name not in repeated]
    if together:
        shown = ", ".join(together[:10]) + _more(together)
        notes.append(f"Studies of one patient are taken together, each with other modalities: {shown}.")
    if repeated:
        notes.append(f"Several studies of one patient are visits: {', '.join(sorted(repeated)[:10])}{_more(repeated)}.")
    visits: dict[tuple[str, str], str] = {}
    for name in repeated:
        used: Counter[str] = Counter()
        for uid, date in sorted(studies[name].items(), key=lambda item: (item[1], item[0])):
            used[date or "study"] += 1
            again = used[date or "study"]
            visits[name, uid] = (date if again == 1 else f"{date}-{again}") if date else f"study{again}"
    return visits


def _of_one_time(series: DicomSeries, frame: int | None) -> tuple[tuple[Path, ...], str | None]:
    """Files of one time, where several images lie at each place; and what is wrong otherwise."""
    if series.modality == "CT" and frame is None:
        return series.files, None  # repeated positions are an error of their own when the slices are read
    places: dict[tuple[float, ...], list[tuple[Path, Any]]] = defaultdict(list)
    for file in series.files:
        header = read_header(file)
        if "ImagePositionPatient" in header:  # else an enhanced file, of which each is a volume
            place = (*header.ImagePositionPatient, *header.get("ImageOrientationPatient", ()))
            places[tuple(np.round([float(one) for one in place], 2).tolist())].append((file, header))
    counts = {len(files) for files in places.values()}
    if counts <= {1}:
        return series.files, None
    what = f"{series.described}: {min(counts)} to {max(counts)} images lie at one place"
    if len(counts) > 1:
        return series.files, f"{what}, so that no volume has one of each; are files missing, or of two acquisitions?"
    count, key = counts.pop(), _telling(list(places.values()))
    what = f"{series.described}: {count} images lie at each of {len(places)} places" + (f", by {key}" if key else "")
    if frame is None:
        return series.files, f"{what}; say which by --frame first, last, or a number from 0 to {count - 1}."
    if key is None:
        return series.files, f"{what}; nothing in their headers tells them apart."
    if frame >= count:
        return series.files, f"{what}; there is no image number {frame}."
    return tuple(sorted(files, key=lambda one: _order(one[1], key))[frame][0] for files in places.values()), None


def _order(header: Any, key: str) -> float:
    value = number(header, key)
    return float("nan") if value is None else value


def _telling(places: Sequence[Sequence[tuple[Path, Any]]]) -> str | None:
    """The keyword by which images at one place differ, at every place."""

    def tells(key: str) -> bool:
        orders = [[_order(header, key) for _, header in files] for files in places]
        return all(len(set(one)) == len(one) and not np.isnan(one).any() for one in orders)

    return next((key for key in _PHASES if tells(key)), None)
