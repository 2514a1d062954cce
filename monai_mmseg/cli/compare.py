# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg compare`` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_mmseg.cli.console import short_path

if TYPE_CHECKING:
    from monai_mmseg.study.definition import Study


def compare(
    data: str | None = None,
    *,
    methods: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    out: str | None = None,
    seeds: Sequence[int] | None = None,
    folds: int | None = None,
    budget: str | None = None,
    steps: int | None = None,
    target: str | None = None,
    source: str | None = None,
    labels: Sequence[float] | None = None,
    paper_dice: bool = False,
    nnunet: str | None = None,
    lanes: int = 1,
    threads: int = 1,
    list: bool = False,  # noqa: A002
    page_only: bool = False,
) -> int:
    """Train methods on one datalist in the same time, score them alike, and write one page.

    Args:
        data: datalist.json of the data, or the JSON file of a study.
        methods: names of the study's file, or of `--list`. Overlays of their bundles go behind: dafnet+spade.
        settings: names of the study's file; the others wait.
        out: folder of the study; one that was cut off goes on.
        seeds: of the trainings.
        folds: how many of the datalist's folds are trained: each one watches; without a test section each is tested.
        budget: time of each training, such as 20m.
        steps: updates of the weights of each training, instead of a time.
        target: modality to segment; default is one without labels, or the last.
        source: modality that helps; default is the first other one.
        labels: shares of the target's labels to train with, each a setting: 1 0.5 0.
        paper_dice: also Dice as the papers of the methods count it.
        nnunet: environment with nnU-Net; default is the PATH.
        lanes: cells that run at a time.
        threads: of the CPU, for each cell.
        list: print the methods, what they need, and whether the data offer it; of a study's file, what it would train.
        page_only: write the page of what was run, and run nothing.
    """
    from monai_mmseg.study.definition import is_study, read_study
    from monai_mmseg.study.methods import StudyError

    wanted = {
        "methods": methods,
        "settings": settings,
        "seeds": seeds,
        "folds": folds,
        "budget": budget,
        "steps": steps,
        "target": target,
        "source": source,
        "paper_dice": paper_dice or None,
        "nnunet": nnunet,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    if list:
        if data is not None and is_study(data):
            _print_study(read_study(data, given))
        else:
            _print_methods(data, target, source)
        return 0
    if out is None:
        raise StudyError("--out is needed: the folder of the study.")
    if not page_only:
        failed = _run(data, given, labels, Path(out), lanes, threads)
    else:
        words = [*(["the data"] if data is not None else []), *(f"--{name.replace('_', '-')}" for name in given)]
        if words := [*words, *(["--labels"] if labels is not None else [])]:
            raise StudyError(f"--page-only writes the page of what {out} holds; leave out {', '.join(words)}.")
        failed = 0
    from monai_mmseg.study.page import write_page

    print(f"written: {short_path(write_page(Path(out)))}")
    return 1 if failed else 0


def _run(
    data: str | None, given: dict[str, Any], labels: Sequence[float] | None, out: Path, lanes: int, threads: int
) -> int:
    """Run the study; how many of its cells have failed."""
    from monai_mmseg.study.definition import is_study, read_study, study_of
    from monai_mmseg.study.methods import StudyError
    from monai_mmseg.study.runner import run_study

    if data is None:
        raise StudyError("a datalist or the file of a study is needed: mmseg compare DATA/datalist.json --methods ...")
    if not Path(data).exists():
        raise StudyError(f"{data}: no such file; a datalist or the file of a study is needed.")
    if is_study(data):
        if labels is not None:
            raise StudyError("--labels are settings of the data, which the file of a study has: 'settings'.")
        study = read_study(data, given)
    else:
        if "settings" in given:
            raise StudyError("--settings are names of a study's file; of a datalist --labels makes them.")
        if labels is not None:
            given["settings"] = _settings(data, given.get("target"), labels)
        study = study_of({"name": Path(data).resolve().parent.name, "datalist": str(data), **given})
    found = run_study(study, out, lanes=lanes, threads=threads, say=lambda text: print(text, flush=True))
    states = [one.state for one in found]
    for one in found:
        if one.state != "done":
            cell = one.cell
            print(f"{one.state}: {cell.method} {cell.setting} fold {cell.fold} seed {cell.seed}: {one.reason}")
    print(f"cells: {', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))}")
    return states.count("failed")


def _settings(data: str, target: str | None, labels: Sequence[float]) -> dict[str, Any]:
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.study.facts import find_facts
    from monai_mmseg.study.methods import StudyError

    if any(not 0 <= share <= 1 for share in labels):
        raise StudyError(f"--labels must be shares from 0 to 1, got {' '.join(f'{share:g}' for share in labels)}.")
    modality = find_facts(read_datalist(data), target).target
    return {f"target_{100 * share:g}": {"labels": {modality: share}} for share in labels}


def _print_study(study: Study) -> None:
    """What a study would train, for how long, and what its datalist refuses: all that is known before it runs."""
    from monai_mmseg.planning.context import time_text
    from monai_mmseg.study.outlook import refused_cells

    each = f"{study.steps} steps" if study.steps else time_text(study.budget) if study.budget else "its bundle's epochs"
    there = study.datalist is not None and study.datalist.is_file()
    refused = refused_cells(study) if there else {}
    print(f"{study.name}: {study.about}" if study.about else study.name)
    print(f"settings: {', '.join(one.name for one in study.settings)}")
    total = 0
    for method in study.methods:
        reasons = {name: refused[method.name, name] for name, *_ in study.settings if (method.name, name) in refused}
        settings = len(study.settings) - len(reasons)
        count = settings * study.folds * len(study.seeds) if method.kind != "baseline" else 0
        total += count
        runs = f"{count:4} of {each}" if count else "   - without training" if settings else "   - refused"
        print(f"{method.name:<24} {runs:<24} {method.about}")
        for reason in dict.fromkeys(reasons.values()):
            names = [name for name, one in reasons.items() if one == reason]
            where = "" if len(names) == len(study.settings) else f" in {', '.join(names)}"
            print(f"{'':<24} - refused{where}: {reason}")
    time = f": {time_text(total * study.budget)} of training by one lane" if study.budget else ""
    told = f"{total} training{'s' if total != 1 else ''}"
    later = "" if there else ", and what the data refuse falls away"
    print(f"{told}{time}; evaluations come on top{later}.")
    if study.datalist and not there:
        print(f"its datalist is not there yet: {short_path(study.datalist.resolve())}")


def _print_methods(data: str | None, target: str | None, source: str | None) -> None:
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.study.facts import find_facts, refusal
    from monai_mmseg.study.methods import METHODS

    facts = None if data is None else find_facts(read_datalist(data), target, source)
    for name, method in METHODS.items():
        package = [f"package {method.package.partition(' ')[0]}"] if method.package else []
        reason = "" if facts is None else refusal(method, facts)
        print(f"{name:<22} {method.about}")
        unplanned = ["a study's file with 'overlays'"] if method.kind == "bundle" and not method.plan else []
        needs = f"needs {', '.join([*method.needs, *package, *unplanned])}"
        print(f"{'':<22} - {f'refused: {reason}' if reason else needs}")
    if facts is not None:
        helping = f", source {facts.source}" if facts.source else ""
        print(f"\nOn these data: target {facts.target}{helping} (--target, --source).")
