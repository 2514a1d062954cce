# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: imports run down the list of rooms, and nowhere in a circle."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "monai_mmseg"

GROUND = (
    *("monai_mmseg", "errors", "files", "names", "outputs", "distributed", "meta_tensors", "memory", "lazy"),
    "unannotated",
    "workers",
)
"""Modules beside the packages, and the package's own name and version: all may stand on them."""

ROOMS = (  # from the ground up: packages and modules of monai_mmseg
    *GROUND,
    *("losses", "networks", "transforms"),
    *("data", "metrics", "objectives", "inferers"),
    *("engines", "evaluation", "visualize"),
    *("runs", "preparation", "phantom", "baselines"),
    *("handlers", "bundle", "report"),
    *("planning", "study"),
    *("cli", "__main__"),
)

FORBIDDEN = [  # room, what it must not import although it stands below or beside
    ("losses", set(ROOMS) - {*GROUND, "losses"}, "the mathematics stands alone"),
    ("networks", set(ROOMS) - {*GROUND, "networks"}, "a network is trained by any method"),
    ("engines", {"losses", "networks"}, "an objective tells an engine all it needs"),
    ("metrics", {"evaluation"}, "a metric knows tensors, not tables"),
    ("evaluation", {"visualize"}, "a table knows no picture"),
    ("visualize", {"evaluation"}, "a picture knows no table"),
    ("data", {"phantom", "preparation"}, "data are read alike, whoever wrote them"),
    ("preparation", {"phantom"}, "readers of real data know no simulator"),
    ("transforms", {"phantom"}, "readers of real data know no simulator"),
    ("runs", {"evaluation", "handlers", "report"}, "a folder holds what others make"),
]


def _modules() -> dict[str, Path]:
    names = {path: path.relative_to(PACKAGE.parent).with_suffix("").parts for path in PACKAGE.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def _imports(path: Path) -> set[str]:
    """All names that a file imports, also inside functions and for type checkers: ``package.module[.name]``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


MODULES = _modules()
IMPORTS = {module: _imports(path) for module, path in MODULES.items()}
GRAPH = {  # module -> modules of the project
    module: {
        name if name in MODULES else name.rpartition(".")[0]
        for name in names
        if name.partition(".")[0] == "monai_mmseg"
    }
    for module, names in IMPORTS.items()
}
CROSSING = sorted(
    (module, other) for module, others in GRAPH.items() for other in others if _room(module) != _room(other)
)


def _circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_its_place():
    assert {_room(module) for module in MODULES} == set(ROOMS)


def test_imports_name_what_is_there():
    assert [(module, other) for module, others in GRAPH.items() for other in others if other not in MODULES] == []


def test_no_import_runs_up():
    assert [pair for pair in CROSSING if ROOMS.index(_room(pair[0])) < ROOMS.index(_room(pair[1]))] == []


@pytest.mark.parametrize(("room", "others", "why"), FORBIDDEN, ids=[f"{room}: {why}" for room, _, why in FORBIDDEN])
def test_neighbours_that_do_not_know_each_other(room, others, why):
    assert [pair for pair in CROSSING if _room(pair[0]) == room and _room(pair[1]) in others] == [], why


def test_rooms_have_no_circle():
    graph: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module, other in CROSSING:
        graph[_room(module)].add(_room(other))
    assert _circle(graph) == []


def test_modules_have_no_circle():
    assert _circle(GRAPH) == []


def test_methods_do_not_know_each_other():
    nets = "monai_mmseg.networks.nets."
    methods = [name.removeprefix(nets) for name, path in MODULES.items() if path.parent.parent.name == "nets"]
    folders = {name.split(".")[0] for name in methods}
    assert {"dafnet", "disentangle", "ummkd"} <= folders
    crossing = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if module.startswith(nets) and other.startswith(nets)
        if {module.split(".")[3], other.split(".")[3]} <= folders and module.split(".")[3] != other.split(".")[3]
    ]
    assert crossing == []


def test_the_library_stands_without_bundles_tests_and_benchmarks():
    foreign = {"bundles", "tests", "benchmarks", "scripts"}
    assert [(m, name) for m, names in IMPORTS.items() for name in names if name.split(".")[0] in foreign] == []
