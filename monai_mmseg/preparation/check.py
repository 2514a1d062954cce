# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Look at every file of a datalist and name everything that is broken, not only the first."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_mmseg.data.borrowed import SOURCE, borrowed_text
from monai_mmseg.data.datalist import REQUIRED_KEYS, SECTIONS, absolute_item, label_problem, read_raw
from monai_mmseg.data.leaks import find_leaks
from monai_mmseg.names import counted, name_problem, names_of_one_file, windows_problem
from monai_mmseg.preparation.mask_files import label_values
from monai_mmseg.preparation.suspicions import all_findings, without_air
from monai_mmseg.preparation.volume_facts import Entry, SubjectFacts, VolumeFacts, look_at_subject

logger = logging.getLogger(__name__)

SHEET_SUBJECTS = 30
"""Of how many subjects at most a check keeps slices for the contact sheet."""


@dataclass
class DatalistReport:
    """What :func:`check_datalist` found."""

    name: str
    modalities: list[str]
    labels: dict[int, str]
    volumes: list[VolumeFacts] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    label_values: set[int] = field(default_factory=set)  # also those of files that labels were made of

    def summary(self) -> list[str]:
        """Counts of subjects, modalities, labels and erased backgrounds, as lines of text.

        Returns:
            Lines.
        """
        lines = [f"labels: {', '.join(f'{value} {name}' for value, name in self.labels.items()) or 'not declared'}"]
        for section in SECTIONS:
            volumes = [volume for volume in self.volumes if volume.section == section]
            if not volumes:
                continue
            parts = []
            for modality in self.modalities:
                mine = [volume for volume in volumes if volume.modality == modality]
                labelled = sum(volume.label_ml is not None for volume in mine)
                borrowed = borrowed_text({SOURCE: volume.label_source} for volume in mine)
                parts.append(f"{modality} {len(mine)} ({labelled} labelled{borrowed and f', borrowed: {borrowed}'})")
            subjects, persons = (len({getattr(one, key) for one in volumes}) for key in ("subject", "person"))
            visits = f" in {subjects} visits" if persons < subjects else ""
            lines.append(f"{section}: {counted(persons, 'subject')}{visits}; {', '.join(parts)}")
        counts = {
            modality: f"{modality} {sum(volume.background.constant is True for volume in mine)} of {len(mine)}"
            for modality, mine in without_air(self.volumes).items()
        }
        drawn = [volume.label_ml for volume in self.volumes if volume.label_ml is not None]
        partly = {name: sum(name not in one for one in drawn) for value, name in self.labels.items() if value}
        if told := [f"{name} in {count} of {len(drawn)} labels" for name, count in partly.items() if count]:
            lines.append(f"not annotated: {', '.join(told)}")
        if told := [counts[modality] for modality in self.modalities if modality in counts]:
            lines.append(f"images with an erased background: {', '.join(told)}")
        return lines


def digest(messages: Sequence[str], most: int = 5) -> list[str]:
    """Messages for people to read: of each kind the first few, and how many more there are.

    Args:
        messages: errors, warnings or notes of a report. Those that differ in names, paths and numbers alone are of one
            kind.
        most: how many of a kind are kept.

    Returns:
        Messages, those of a kind together.

    Examples:
        >>> digest([f"subject 's{place}' has no lge" for place in range(4)], most=2)
        ["subject 's0' has no lge", "subject 's1' has no lge", '... and 2 more like this']
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        kinds[re.sub(r"(\w:)?[/\\].*?(?=: | is named | \(|, |$)|'[^']*'|\"[^\"]*\"|[0-9.]+", "*", message)].append(
            message
        )
    shown = []
    for mine in kinds.values():
        rest = len(mine) - most
        shown += mine if rest <= 1 else [*mine[:most], f"... and {rest} more like this"]
    return shown


def check_datalist(
    path: str | Path,
    *,
    thumbnails: bool = False,
    section: str | None = None,
    statistics: bool = False,
    workers: int = 1,
) -> DatalistReport:
    """Read every file of a datalist and collect what is broken.

    Errors: wrong form, label values with gaps, a subject that cannot name a file, missing or unreadable file, a file
    that is no image, 4D image, affine that cannot be inverted, NaN or infinite or constant image, label on another grid
    than its image, label value that is not declared, one person in two folds or sections, two images of one modality
    of a subject, one file named twice (modalities of a subject may share a label), a table of pairs that names what is
    not there, no item at all.

    Warnings: what costs a training later, though it may be meant. A class that a label or a modality lacks, a label
    without foreground, an image that looks like a label, a modality without training labels or images, a fold without
    anything to validate on, an empty training section, CT that is not in Hounsfield units, a background that was erased
    in some images of a modality alone, voxels or sizes ten times those of the others, the same voxels under two names,
    subjects or modalities that differ in letter case alone, subjects that cannot name files on Windows, modalities of a
    subject that do not meet in the scanner.

    Notes: subjects and slices that lack a modality, slices of several planes, a list without folds.

    Args:
        path: JSON file.
        thumbnails: keep one slice of each image of up to 30 subjects for a contact sheet.
        section: read the images of this section alone; the form of all is checked.
        statistics: measure intensities (``volumes[...].intensity``), for
            :func:`~monai_mmseg.preparation.datalist_statistics`.
        workers: how many subjects are read at a time; each needs the memory of its images.

    Returns:
        The report; ``errors`` is empty for sound data. :func:`digest` shortens its lists for reading.

    Raises:
        FileNotFoundError: if there is no such datalist.
        ValueError: if it is no JSON object, or `workers` is not positive.
    """
    raw, problems = read_raw(path)
    report, entries = examine_form(raw, problems, Path(path))
    read = [entry for entry in entries if section in (None, entry.section)]
    examine_volumes(report, read, thumbnails=thumbnails, statistics=statistics, workers=workers)
    return report


def sound_datalist(path: str | Path, *, section: str | None = None, statistics: bool = False) -> DatalistReport:
    """Check a datalist before something is made of it: errors stop it, warnings are logged.

    Args:
        path: JSON file.
        section: as for :func:`check_datalist`.
        statistics: as for :func:`check_datalist`.

    Returns:
        The report.

    Raises:
        FileNotFoundError: if there is no such datalist.
        ValueError: if something is broken; the message lists it.
    """
    report = check_datalist(path, section=section, statistics=statistics)
    stop_at_errors(report, path)
    return report


def sound_form(path: str | Path) -> None:
    """As :func:`sound_datalist`, for what reads the images itself: none is opened."""
    raw, problems = read_raw(path)
    stop_at_errors(examine_form(raw, problems, Path(path))[0], path)


def stop_at_errors(report: DatalistReport, path: str | Path) -> None:
    """Log the warnings of a report, and raise a ``ValueError`` that lists its errors if it has any."""
    for message in digest(report.warnings):
        logger.warning("%s", message)
    if report.errors:
        raise ValueError(broken_message(path, report.errors))


def broken_message(path: str | Path, errors: Sequence[str]) -> str:
    """Text of an exception that names what is broken in a datalist."""
    listed = "\n".join(f"  - {message}" for message in digest(errors))
    return f"{path}: {counted(len(errors), 'broken item')}; `mmseg data check` lists all:\n{listed}"


def examine_form(raw: Mapping[str, Any], problems: Sequence[str], path: Path) -> tuple[DatalistReport, list[Entry]]:
    """What can be said of a datalist without opening its images.

    Args:
        raw: content of the file.
        problems: what is wrong with its form.
        path: the file.

    Returns:
        A report that has no volumes yet, and the items that have what is needed to read them.
    """
    root = path.resolve().parent
    entries = [
        Entry(section, f"{section}[{number}]", absolute_item(item, root, raw))
        for section in SECTIONS
        for number, item in enumerate(raw[section] if isinstance(raw.get(section), list) else [])
        if isinstance(item, Mapping) and all(isinstance(item.get(key), str) and item[key] for key in REQUIRED_KEYS)
    ]
    declared = raw.get("modalities") if isinstance(raw.get("modalities"), list) else None
    modalities = [str(name) for name in declared or dict.fromkeys(item["modality"] for _, _, item in entries)]
    given: dict[str, Any] = raw["labels"] if isinstance(raw.get("labels"), dict) else {}
    labels = {int(value): str(name) for value, name in given.items() if value.isascii() and value.isdigit()}
    report = DatalistReport(str(raw.get("name", path.stem)), modalities, dict(sorted(labels.items())))
    report.label_values = label_values(raw)
    report.errors += problems
    if 0 in labels and (problem := label_problem(labels)):
        report.errors.append(problem)
    if not labels and any(item.get("label") for _, _, item in entries):
        report.errors.append("items have labels, but 'labels' does not declare their values")
    if raw.get("training") == []:
        report.warnings.append("the section 'training' is empty")
    if not entries and not problems:
        report.errors.append("no section holds an item")
    _check_subjects(entries, report)
    return report, entries


def _check_subjects(entries: Sequence[Entry], report: DatalistReport) -> None:
    sections: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    owned: dict[str, set[str]] = defaultdict(set)
    for section, _, item in entries:
        sections[section].append(item)
        owned[item["subject"]].add(item["modality"])
    report.errors += find_leaks(sections)
    for (subject, modality), count in Counter((i["subject"], i["modality"]) for _, _, i in entries).items():
        if count > 1:
            report.errors.append(f"subject {subject!r} has {count} images of modality {modality!r}")
    modalities = [*report.modalities, *(item["modality"] for _, _, item in entries)]
    report.warnings += [
        f"{kind} {first!r} and {second!r} differ in their letter case alone: are they one? Where case does not count "
        "(Windows, macOS) their files would replace each other"
        for kind, names in (("subjects", list(owned)), ("modalities", modalities))
        for first, second in names_of_one_file(names)
    ]
    report.warnings += [
        f"subject {subject!r} cannot name files on Windows: it {problem}"
        for subject in owned
        if name_problem(subject) is None and (problem := windows_problem(subject))
    ]
    if all(len(have) == 1 for have in owned.values()):
        return  # images of different people: none is expected to have the other modalities
    for subject, have in owned.items():
        if lacking := [name for name in report.modalities if name not in have]:
            report.notes.append(f"subject {subject!r} has no {', '.join(lacking)}")


def examine_volumes(
    report: DatalistReport,
    entries: Sequence[Entry],
    *,
    thumbnails: bool = False,
    statistics: bool = False,
    workers: int = 1,
) -> None:
    """Read the images of items, and add what they say to a report.

    Args:
        report: it is changed.
        entries: items.
        thumbnails: as for :func:`check_datalist`.
        statistics: as for :func:`check_datalist`.
        workers: as for :func:`check_datalist`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.section, entry.item["subject"]].append(entry)
    subjects = list(dict.fromkeys(subject for _, subject in groups))
    drawn = set(even_choice(subjects, SHEET_SUBJECTS)) if thumbnails else set()

    def look(key: tuple[str, str]) -> SubjectFacts:
        return look_at_subject(groups[key], report.labels, thumbnails=key[1] in drawn, statistics=statistics)

    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(look, groups):
            report.volumes += found.volumes
            report.errors += found.errors
            report.warnings += found.warnings
    errors, warnings, notes = all_findings(report.volumes, report.modalities, report.labels, report.label_values)
    report.errors += errors
    report.warnings += warnings
    report.notes += notes


def even_choice(subjects: Sequence[str], most: int) -> list[str]:
    """Some of many subjects, evenly spread over their order.

    Examples:
        >>> even_choice(list("abcdefg"), 3)
        ['a', 'd', 'g']
    """
    if len(subjects) <= most:
        return list(subjects)
    return [subjects[int(place)] for place in np.linspace(0, len(subjects) - 1, most).round()]
