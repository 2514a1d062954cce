# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the cells of a study's folder are of: ``study.json``, which methods and settings may join but not change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from monai_mmseg.files import read_json, write_json
from monai_mmseg.study.cells import Cell, read_cell
from monai_mmseg.study.content import DEFINITION
from monai_mmseg.study.definition import Study
from monai_mmseg.study.methods import StudyError
from monai_mmseg.study.plans import forget_timing

_WRITTEN = ("cells", "plans", "index.html", "results.json", "scores.csv", "table.csv", "table.md")
_ALL = {"methods": "*/{}/fold*", "settings": "{}/*/fold*"}


def check_definition(study: Study, out: Path, say: Callable[[str], object] = print) -> dict[str, Any]:
    """The definition to keep: that of the folder, with what this call adds.

    What has trained nothing may change: a method is mended after its cells failed or were refused.

    Args:
        study: what is to run.
        out: folder of the study.
        say: called with what begins anew.

    Returns:
        Content of ``study.json``.

    Raises:
        StudyError: the folder holds cells of another study.
    """
    path, content = out / DEFINITION, study.content()
    about = {name: getattr(study, name) for name in ("name", "about", "ours", "published")}
    numbers: dict[str, Any] = {"seeds": list(study.seeds), "folds": study.folds}
    if not path.is_file() and (left := [name for name in _WRITTEN if (out / name).exists()]):
        raise StudyError(
            f"{out} holds {', '.join(left)}, but no {DEFINITION} that says of which study: give another --out, or "
            "remove them."
        )
    if path.is_file():
        before = _read_record(path)
        numbers["cells"] = before.get("cells", [])
        about["ours"] = about["ours"] or before.get("ours", "")
        differing = [key for key in content if key not in _ALL and content[key] != before.get(key)]
        for key in _ALL:
            old = before.get(key, {})
            differing += [f"{key} {name}" for name in content[key] if name in old and content[key][name] != old[name]]
            content[key] = {**old, **content[key]}
        if differing:
            _begin_anew(out, differing, before, content)
            say(f"{', '.join(differing)}: changed; nothing had been trained, and its cells begin anew.")
        numbers["seeds"] = sorted({*before.get("seeds", []), *numbers["seeds"]})
        numbers["folds"] = max(before.get("folds", 0), study.folds)
    return {**about, **numbers, **json.loads(json.dumps(content))}


def _read_record(path: Path) -> dict[str, Any]:
    """What an earlier call kept; somebody may have written into it."""
    try:
        found = read_json(path)
    except ValueError as error:
        raise StudyError(f"{error} Put it back as it was, or give another --out.") from error
    if not isinstance(found, dict) or not isinstance(found.get("methods"), dict):
        raise StudyError(f"{path} is not the record of a study that ran: give another --out.")
    kinds = {"settings": dict, "seeds": list, "folds": int, "cells": list}
    wrong = [key for key, wanted in kinds.items() if not isinstance(found.get(key, wanted()), wanted)]
    cells = found.get("cells", ()) if "cells" not in wrong else ()
    if any(not isinstance(one, dict) or set(one) != set(Cell._fields) for one in cells):
        wrong.append("cells")
    if wrong:
        raise StudyError(
            f"{path} is not as it was written ({', '.join(wrong)}): put it back as it was, or give another --out."
        )
    return found


def note_cells(out: Path, cells: Iterable[Cell]) -> None:
    """All cells that were ever planned go into the definition, so that the page says which are missing.

    Args:
        out: folder of the study.
        cells: of this call.
    """
    content = json.loads((out / DEFINITION).read_text(encoding="utf-8"))
    known = {Cell(**one): None for one in content.get("cells", [])} | dict.fromkeys(cells)
    write_json(out / DEFINITION, {**content, "cells": [one._asdict() for one in known]})


def _begin_anew(out: Path, differing: list[str], before: dict[str, Any], content: dict[str, Any]) -> None:
    """Remove cells of what has changed if all of them ended without any weights; refuse the change otherwise."""
    parts = [one.partition(" ") for one in differing]
    patterns = [_ALL[key].format(name) if name else "*/*/fold*" for key, _, name in parts]
    cells = sorted({one for pattern in patterns for one in (out / "cells").glob(pattern)})
    trained = [one for one in cells if (left := read_cell(one)) is None or left.state == "done" or _weights(one)]
    if trained:
        first = differing[0]
        was, now = (str(one.get(first, "another one")) for one in (before, content))
        more = f" (was {was[:120]}, is {now[:120]})" if " " not in first else ""
        raise StudyError(
            f"{out} holds cells of another study: {', '.join(differing)} differ{'s' if len(differing) == 1 else ''}"
            f"{more}, of which {trained[0].relative_to(out)} has begun to train. Give another --out, or remove the "
            "folder."
        )
    for one in cells:
        shutil.rmtree(one)
    root = out / "cells"
    for place in (*root.glob("*/*"), *root.glob("*"), root):  # a setting without cells has seen no phantom
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    for key, _, name in parts:
        if key == "methods":
            forget_timing(out, name)
        elif key != "settings":
            shutil.rmtree(out / "plans", ignore_errors=True)


def _weights(cell: Path) -> bool:
    return any(cell.rglob("models/*.pt"))
