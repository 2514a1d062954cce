# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From what a reader of a data set found to a datalist."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import torch

import monai_mmseg
from monai_mmseg.data.datalist import SECTIONS
from monai_mmseg.data.originals import named_files
from monai_mmseg.data.visits import examination_name
from monai_mmseg.errors import short_message
from monai_mmseg.files import read_json, write_json, write_text
from monai_mmseg.names import name_problem, names_of_one_file
from monai_mmseg.outputs import check_files, check_output_file, move_files, spare_originals
from monai_mmseg.preparation.layouts.layout import Case, Layout
from monai_mmseg.preparation.layouts.record import preparation, relative, terms
from monai_mmseg.preparation.layouts.stage import kept_stage
from monai_mmseg.preparation.layouts.write import IMAGES, LABELS, Subject, makes_image, with_others, write_subject
from monai_mmseg.transforms.image_parts import image_parts
from monai_mmseg.unannotated import UNANNOTATED
from monai_mmseg.workers import with_bar

logger = logging.getLogger(__name__)

DATALIST = "datalist.json"
_RECORD, _TERMS = "preparation.json", "LICENCE.txt"
_FILES, _DONE, _MOVING = "files", "visits", "moving"  # of the stage
_MOST_ROWS = 30  # of the contact sheet
_MORE_VALUES = "\nA class may have several values (liver=1+6); one with two meanings: import parts, `mmseg data merge`."


class BrokenSubjects(ValueError):
    """Subjects of a data set cannot be used; the message lists all of them."""

    says_all = True


class WorkerKilled(MemoryError):
    """A process that prepared subjects was killed."""

    says_all = True


def import_layout(
    layout: Layout,
    out: str | Path,
    *,
    overwrite: bool = False,
    workers: int = 1,
    skip_broken: bool = False,
    sheet: bool = False,
    made_by: Mapping[str, Any] | None = None,
) -> Path:
    """Write the datalist of a data set.

    Images stay where they are, named by relative paths, unless they are DICOM slices, a part of a 4D file, or changed
    by the layout's steps: then they are written to ``images/``. Labels are written to ``labels/`` with the classes of
    the datalist. ``preparation.json`` tells how all of it was made, with a checksum of every file. The originals are
    not touched. The list appears last, when everything else is there. An import that is killed goes on, when it is
    started again, with the subjects that are missing.

    Args:
        layout: what a reader found.
        out: folder to write to, or a ``.json`` file; of a list that is not called ``datalist.json``, names of the other
            files begin with its name.
        overwrite: whether files that are there already may be replaced.
        workers: processes; each holds one subject at a time. More than one needs a main module that can be imported.
        skip_broken: leave out subjects, or visits of them, that cannot be used; otherwise nothing is written if there
            is one.
        sheet: whether to draw the contact sheet.
        made_by: what the record tells of the reader, such as its name, ``source`` and ``options``.

    Returns:
        The datalist.

    Raises:
        BrokenSubjects: if subjects cannot be used, with all reasons; a ValueError.
        ValueError: if the layout's names would give one file two owners, no subject is left, or a file that is read
            would be replaced.
        OSError: if a file is there already, belongs to another list, or cannot be written.
        WorkerKilled: if a worker process was killed; a MemoryError. What is finished is kept for the next start.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}.")
    path = Path(out) if str(out).lower().endswith(".json") else Path(out) / DATALIST
    root = check_output_file(path, overwrite=overwrite).absolute().parent.resolve()
    broken = {**layout.broken}
    names = _file_names(layout.cases)
    subjects = _by_examination(layout.cases, broken)
    count = len(subjects) + len(broken)
    read = {one for case in layout.cases for one in (case.image, case.label, *case.series) if one is not None}
    if made_by and "source" in made_by:
        read |= {Path(made_by["source"]), Path(made_by["source"]) / "dataset.json"}  # of nnU-Net and the Decathlon
    spare_originals([path, *(root / name for name in _results(layout, names, path))], read)
    with kept_stage(root, path.stem, _key(layout)) as stage:
        if not (stage / _MOVING).exists():  # else it was killed while the files were put to their places
            results = _results(layout, names, path)
            if not overwrite:
                check_files(root, results)
            _check_owner(root, results, path)
            done = _prepare(layout, subjects, names, stage, workers, broken)
            if broken and not skip_broken:
                raise BrokenSubjects(_refusal(broken, count, any(case.visit for case in layout.cases)))
            if not done:
                raise BrokenSubjects(f"no subject of {layout.name} can be used:{_lines(broken)}")
            _write_files(layout, done, broken, stage, path, root, made_by or {})
            (stage / _MOVING).touch()
        if overwrite:
            for old in (path, path.with_name(f"{path.stem}_sheet.png")):  # an old list must not name new files
                old.unlink(missing_ok=True)
        move_files(stage / _FILES, root, overwrite=True)
        if (stage / DATALIST).exists():
            os.replace(stage / DATALIST, root / path.name)
        if sheet:
            _draw(path, stage, workers)
    return path


def record_of(path: Path) -> dict[str, Any]:
    """What an import wrote down.

    Args:
        path: the datalist that it wrote.

    Returns:
        Among others ``broken``, subjects, or visits of them, that were left out, and why; and ``notes``.
    """
    record: dict[str, Any] = read_json(companion(path, _RECORD))
    return record


def companion(path: Path, name: str) -> Path:
    """A file that goes with a datalist: beside it, and after its name unless it is ``datalist.json``.

    Args:
        path: the datalist.
        name: of the file.

    Returns:
        The path.

    Examples:
        >>> companion(Path("a/datalist.json"), "preparation.json").name
        'preparation.json'
        >>> companion(Path("a/t2.json"), "preparation.json").name
        't2_preparation.json'
    """
    return path.with_name(name if path.name == DATALIST else f"{path.stem}_{name}")


def _by_examination(cases: Sequence[Case], broken: dict[str, str]) -> dict[str, list[int]]:
    """Places of each examination's cases, which stand or fall together; those with names of no use go to `broken`."""
    found: dict[str, list[int]] = defaultdict(list)
    told: dict[str, list[Case]] = defaultdict(list)  # examinations, or persons, that the reader refused
    for place, case in enumerate(cases):
        name = examination_name(case.subject, case.visit)
        if (refused := case.subject if case.subject in broken else name) in broken:
            told[refused].append(case)
        else:
            found[name].append(place)
    for name, mine in told.items():
        broken[name] = with_others(broken[name], mine)
    for name, places in list(found.items()):
        mine = [cases[place] for place in places]
        given = [pair for one in mine for pair in (("visit", one.visit), ("modality", one.modality))]
        problems = [
            f"{what} {word!r} names files, but it {problem}."
            for what, word in dict.fromkeys([("subject", mine[0].subject), *given])
            if word is not None and (problem := name_problem(word))
        ]
        first: dict[tuple[str | None, str], Case] = {}
        for one in mine:
            if (other := first.setdefault((one.visit, one.modality), one)) is not one:
                problems.append(f"two images are of modality {one.modality!r}: {other.image} and {one.image}.")
        if problems:
            broken[name] = " ".join(problems)
            del found[name]
    return dict(found)


def _file_names(cases: Sequence[Case]) -> list[str]:
    """Names of the files of each case, without ending."""
    names: list[str] = []
    owners: dict[str, str] = {}
    for case in cases:
        name = examination_name(case.subject, case.visit)
        names.append(name if case.modality in case.subject.split("_") else f"{name}_{case.modality}")
        if (owner := owners.setdefault(names[-1], case.subject)) != case.subject:
            raise ValueError(f"files of subjects {owner!r} and {case.subject!r} would both be called {names[-1]!r}.")
    if same := names_of_one_file(list(owners)):
        raise ValueError(f"{same[0][0]!r} and {same[0][1]!r} would be one file where letter case does not count.")
    return names


def _key(layout: Layout) -> str:
    """Equal for equal settings and files that did not change since."""
    paths = sorted({path for case in layout.cases for path in (case.image, case.label, *case.series) if path})
    states: list[Any] = [monai_mmseg.__version__, repr(layout)]
    for path in paths:
        states += [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in image_parts(path)]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _results(layout: Layout, names: Sequence[str], path: Path) -> list[str]:
    """Files that will be made, as seen from the list."""
    made = [
        f"{kind}/{name}.nii.gz"
        for case, name in zip(layout.cases, names, strict=True)
        for kind, there in ((LABELS, case.label is not None), (IMAGES, makes_image(case, layout.steps)))
        if there
    ]
    return [*made, *(companion(path, name).name for name in (_RECORD, _TERMS) if name != _TERMS or terms(layout))]


def _check_owner(root: Path, results: Sequence[str], path: Path) -> None:
    """Files that another list names stay, even where those of this one may be replaced."""
    wanted = {str(root / name) for name in results}
    for other in sorted(root.glob("*.json")):
        named = {os.path.normpath(file) for file in named_files(other)} if other.name != path.name else set()
        if shared := sorted(named & wanted):
            more = f" and {len(shared) - 1} more files" if len(shared) > 1 else ""
            raise FileExistsError(f"{other} has {shared[0]}{more}: write {path.name} to another folder.")


def _prepare(
    layout: Layout,
    subjects: Mapping[str, Sequence[int]],
    names: Sequence[str],
    stage: Path,
    workers: int,
    broken: dict[str, str],
) -> list[tuple[list[Case], dict[str, Any]]]:
    """Cases and facts of all examinations that can be used; the others are added to `broken`."""
    jobs = {
        subject: Subject(
            tuple(layout.cases[place] for place in places),
            tuple(names[place] for place in places),
            layout.values,
            tuple(layout.steps),
            stage / _FILES,
            stage / _DONE / f"{number}.json",
        )
        for number, (subject, places) in enumerate(subjects.items())
    }
    facts = {subject: read for subject, job in jobs.items() if (read := _read(job.done)) is not None}
    if facts:
        logger.warning("%d of %d subjects were finished before: going on with the others.", len(facts), len(subjects))
    todo = {subject: job for subject, job in jobs.items() if subject not in facts}
    for subject, found in with_bar(_results_of(todo, workers), "subjects", len(todo)):
        os.utime(stage)  # tells other machines that somebody is at work
        if isinstance(found, str):
            broken[subject] = found
        else:
            facts[subject] = found
    return [(list(job.cases), facts[subject]) for subject, job in jobs.items() if subject in facts]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        return None
    return found


def _results_of(jobs: Mapping[str, Subject], workers: int) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Subjects and what came of them, as they are finished."""
    if min(workers, len(jobs)) < 2:
        for subject, job in jobs.items():
            yield subject, write_subject(job)
        return
    # forked processes would inherit locks of threads that they do not have
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([write_subject.__module__])  # imported once, not by each worker
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _start_worker) as pool:
        futures = {pool.submit(write_subject, job): subject for subject, job in jobs.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise WorkerKilled(
                "a worker process was killed, most likely for want of memory: fewer --workers need less. What is "
                "finished is kept; the same command goes on from there."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides; a subject that is begun is finished
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # nobody would take the result

    threading.Thread(target=follow, daemon=True).start()


def _write_files(
    layout: Layout,
    done: Sequence[tuple[Sequence[Case], Mapping[str, Any]]],
    broken: Mapping[str, str],
    stage: Path,
    path: Path,
    root: Path,
    made_by: Mapping[str, Any],
) -> None:
    """All but volumes: the list beside the files, since it comes last."""
    files = stage / _FILES
    kept = {str(root / one["file"]) for _, facts in done for case in facts["cases"] for one in case["outputs"]}
    for volume in files.rglob("*.nii.gz"):  # of subjects that turned out to be broken
        if str(root / volume.relative_to(files)) not in kept:
            volume.unlink()
    items: dict[str, list[dict[str, Any]]] = {}
    shown = [name for value, name in layout.labels.items() if value and value in layout.values.values()]
    annotated = {"annotated": shown} if 0 < len(shown) < len(layout.labels) - 1 else {}
    for cases, facts in done:
        for case, one in zip(cases, facts["cases"], strict=True):
            items.setdefault(case.section, []).append(_item(case, one, root, annotated))
    head = {
        "name": layout.name,
        "modalities": list(layout.modalities),
        "labels": {str(value): name for value, name in layout.labels.items()},
        **({"ignore": UNANNOTATED} if UNANNOTATED in layout.values.values() else {}),
        **({"target": layout.target} if layout.target else {}),
        **{key: text for key, text in (("reference", layout.reference), ("licence", layout.licence)) if text},
        "meta": {"label_values": {str(value): one for value, one in sorted(layout.values.items())}},
    }
    write_json(files / companion(path, _RECORD).name, preparation(layout, done, broken, root, made_by))
    if text := terms(layout):
        write_text(files / companion(path, _TERMS).name, text)
    write_json(stage / DATALIST, {**head, **{name: items[name] for name in SECTIONS if name in items}})


def _item(case: Case, made: Mapping[str, Any], root: Path, annotated: Mapping[str, Any]) -> dict[str, Any]:
    more = {"visit": case.visit, "fold": case.fold, "meta": dict(case.meta) if case.meta else None}
    pairs = {other: {str(k): v for k, v in table.items()} for other, table in (case.pairs or {}).items()}
    return {
        "image": made.get(IMAGES) or relative(case.image, root),
        **({"label": made[LABELS], **annotated} if LABELS in made else {}),
        "modality": case.modality,
        "subject": case.subject,
        **{key: value for key, value in more.items() if value is not None},
        **({"pairs": pairs} if pairs else {}),
    }


def _refusal(broken: Mapping[str, str], count: int, visits: bool) -> str:
    what = "visit" if visits else "subject"
    are = f"{len(broken)} of {count} {what}s cannot be used" if len(broken) > 1 else f"a {what} cannot be used"
    many = sum("label values must be some of" in reason for reason in broken.values()) > 1
    return f"{are}, nothing is written (--skip-broken leaves out such {what}s):{_lines(broken)}{_MORE_VALUES * many}"


def _lines(broken: Mapping[str, str]) -> str:
    return "".join(f"\n  - {subject}: {reason}" for subject, reason in broken.items())


def _draw(path: Path, stage: Path, workers: int) -> None:
    """The sheet of ``mmseg data check``, of an even choice of subjects; the list is good without it."""
    from monai_mmseg.preparation.check import check_datalist
    from monai_mmseg.preparation.contact_sheet import write_contact_sheet

    content = read_json(path)
    subjects = list(dict.fromkeys(item["subject"] for name in SECTIONS for item in content.get(name, [])))
    chosen = {subjects[int(k)] for k in np.linspace(0, len(subjects) - 1, min(_MOST_ROWS, len(subjects))).round()}
    for section in SECTIONS:
        for item in (items := content.get(section, [])):
            item.update({key: str(path.parent.resolve() / item[key]) for key in ("image", "label") if key in item})
        if items:
            content[section] = [item for item in items if item["subject"] in chosen]
    try:
        write_json(stage / "sheet.json", content)
        report = check_datalist(stage / "sheet.json", thumbnails=True, workers=workers)
        write_contact_sheet(report, path.with_name(f"{path.stem}_sheet.png"))
    except Exception as error:
        logger.warning("no contact sheet was drawn: %s", short_message(error))
