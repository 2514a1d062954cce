# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether a study goes on with the data that its cells have seen: paths stay, images and labels may not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from monai_mmseg.data.datalist import Datalist, read_datalist
from monai_mmseg.files import BLOCK, BLOCKS, file_mark, read_record, write_json
from monai_mmseg.runs.identity import file_sha256
from monai_mmseg.study.cells import read_cell, read_cells
from monai_mmseg.study.methods import StudyError
from monai_mmseg.transforms.image_parts import image_parts

CONTENTS = "contents.json"
_OF_FILES = ("image", "label", "person", "ignore", "unknown")


def contents(listed: Datalist, sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """What each item says and marks of its files, wherever they lie.

    Args:
        listed: with the labels.
        sections: flat items with absolute paths.

    Returns:
        Section, subject and modality to a text that differs where anything does.
    """
    found = {"labels": json.dumps([listed.modalities, list(listed.labels.items()), listed.ignore])}
    for section, items in sections.items():
        for item in items:
            told = {key: value for key, value in item.items() if key not in _OF_FILES}
            marks = [image_mark(Path(item[key]), key == "label") if item.get(key) else "" for key in ("image", "label")]
            name = f"{section} {item['subject']} {item['modality']}"
            found[name] = json.dumps([told, *marks], sort_keys=True, ensure_ascii=False)
    return found


def image_mark(path: Path, contour: bool = False) -> str:
    """A short text that another image would hardly have: of all its files, header and voxels, slices of a folder.

    Args:
        path: of an image.
        contour: it is a label, of which a few voxels may have been drawn anew.

    Returns:
        The text, of one file :func:`~monai_mmseg.files.file_mark`; that of nothing is empty.
    """
    parts = image_parts(path)
    sampled = len(parts) == 1 and path.suffix != ".gz" and path.stat().st_size > BLOCK * BLOCKS
    if len(parts) < 2 and not (contour and sampled):
        return "".join(file_mark(one) for one in parts)
    # voxels that are not compressed: a contour that was moved leaves no trace at the places that `file_mark` reads
    sums = [_whole(one, (about := one.stat()).st_size, about.st_mtime_ns) for one in parts]
    what = f"{len(parts)} files" if len(parts) > 1 else "whole file"
    return f"{what} {hashlib.sha256(' '.join(sums).encode()).hexdigest()[:16]}"


@cache
def _whole(path: Path, _size: int, _changed: int) -> str:
    """Once for all settings and folds."""
    return file_sha256(path)


def settle_changes(
    out: Path, setting: str, fold: int, found: Mapping[str, str], say: Callable[[str], object] = print
) -> None:
    """Refuse data that ended cells have not seen; cells that were begun on others and did not end begin anew.

    Args:
        out: folder of the study.
        setting: name.
        fold: number.
        found: of :func:`contents`, as the cells will have it.
        say: called with what begins anew.

    Raises:
        StudyError: cells have ended on other data.
    """
    path = out / "data" / setting / f"fold{fold}" / CONTENTS
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else found
    changed = [name for name in {**before, **found} if before.get(name) != found.get(name)]
    if changed:
        cells = sorted((out / "cells" / setting).glob(f"*/fold{fold}_seed*"))
        some = f"{', '.join(changed[:3])}{f' and {len(changed) - 3} more' if len(changed) > 3 else ''}"
        if ended := [one for one in cells if (left := read_cell(one)) and left.state == "done"]:
            raise StudyError(
                f"{out} holds cells of other data: {setting}, fold {fold}: {some} changed since {len(ended)} of them "
                f"ended, such as {ended[0].relative_to(out)}. Give another --out, or remove what ended on the old data."
            )
        for place in (one for one in path.parent.iterdir() if one.is_dir()):
            shutil.rmtree(place)  # lists with borrowed labels, made of this one
        for one in cells:
            _forget(one, trained=all(name.startswith("test ") for name in changed))
        if not any(one.state == "done" for one in read_cells(out)):
            shutil.rmtree(out / "plans", ignore_errors=True)
        if cells:
            say(f"{setting}, fold {fold}: {some} changed: its cells begin anew.")
    write_json(path, found)


def changed_files(out: Path, setting: str, folds: Iterable[int]) -> list[str]:
    """Items whose image or label is no more what the cells have seen; files that are gone do not count.

    Args:
        out: folder of the study.
        setting: name.
        folds: whose cells have ended.

    Returns:
        Section, subject and modality of each, as :func:`contents` names it.

    Examples:
        >>> changed_files(Path("no such folder"), "all", [0])
        []
    """
    changed = []
    for fold in sorted(set(folds)):
        folder = out / "data" / setting / f"fold{fold}"
        before = read_record(folder / CONTENTS)
        if not before or not (folder / "datalist.json").is_file():
            continue
        listed = read_datalist(folder / "datalist.json")
        for name, text in contents(listed, listed.sections).items():
            marks = [json.loads(one)[1:] for one in (before.get(name, "[]"), text)] if name != "labels" else []
            if marks and any(now not in ("", then) for then, now in zip(*marks, strict=False)):
                changed.append(name)
    return list(dict.fromkeys(changed))


def _forget(cell: Path, *, trained: bool) -> None:
    """What a cell has of other data: all, or what followed its training."""
    if not trained:
        shutil.rmtree(cell)
        return
    for path in (cell / "evaluating.json", *cell.glob("*/evaluating.json")):
        path.unlink(missing_ok=True)
