# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg plan`` is worth: Dice of planned bundles beside that of ``demo.json`` with the same time on a CPU.

Time is that of one thread of the CPU, not of the clock: other programs on the machine do not count.

    python -m benchmarks.accuracy.plan --minutes 10 --situations unpaired_2d one_modality

Every situation has a phantom of its own. What was run is kept in ``--work`` and not run again. ``--page FILE`` writes
the plans that are there as Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import RESULTS, ROOT
from monai_mmseg import phantom
from monai_mmseg.evaluation import ScoreTable
from monai_mmseg.files import read_json, write_json
from monai_mmseg.planning import make_plan
from monai_mmseg.planning.readme import shown
from monai_mmseg.planning.timing import measure_bundle
from monai_mmseg.study.process import command_words, run_module

Edit = Callable[[dict[str, Any]], None]


class Case(NamedTuple):
    """A situation: how its phantom is made, and which demonstration stands beside the plan."""

    make: str  # kind of phantom
    arguments: Mapping[str, Any]
    demo: str  # bundle
    overlays: tuple[str, ...] = ("demo",)
    edit: Edit | None = None  # of the datalist
    overrides: Mapping[str, Any] = {}  # of the demonstration
    scored: str | None = None  # one modality alone


def _without_labels(content: dict[str, Any]) -> None:
    for item in content["training"]:
        if item["modality"] == "lge":
            item.pop("label", None)


def _each_on_one(content: dict[str, Any]) -> None:
    """Every subject was on one scanner only."""
    names = content["modalities"]
    for section in ("training", "test"):
        subjects = list(dict.fromkeys(item["subject"] for item in content[section]))
        own = {name: names[number // 4 % len(names)] for number, name in enumerate(subjects)}
        if section == "test":
            own = {name: names[number % len(names)] for number, name in enumerate(subjects)}
        content[section] = [item for item in content[section] if item["modality"] == own[item["subject"]]]


def _first_alone(content: dict[str, Any]) -> None:
    content["modalities"] = content["modalities"][:1]
    for section in ("training", "test"):
        content[section] = [item for item in content[section] if item["modality"] in content["modalities"]]


_HEART = {"subjects": 18, "test_subjects": 6, "folds": 4, "seed": 3}
_BRAIN = {"subjects": 18, "test_subjects": 5, "size": 54, "folds": 4, "seed": 3}
_CT_MR = {"test_subjects": {"ct": 5, "mr": 4}, "folds": 3, "size": 64, "seed": 3}
CASES = {
    "misaligned_labels_in_one": Case(
        "heart", _HEART, "dafnet", ("settings/target_0", "demo"), _without_labels, scored="lge"
    ),
    "misaligned_labels_in_both": Case("heart", _HEART, "dafnet", scored="lge"),
    "unpaired_2d": Case("cardiac", {**_CT_MR, "subjects": {"ct": 20, "mr": 14}}, "ummkd"),
    "unpaired_3d": Case("abdomen", {**_CT_MR, "subjects": {"ct": 20, "mr": 14}}, "ummkd_3d"),
    "unpaired_unequal": Case("cardiac", {**_CT_MR, "subjects": {"ct": 20, "mr": 7}}, "ummkd"),
    "registered_complete": Case("brain", _BRAIN, "disentangle_tumour"),
    "registered_gaps": Case("brain", {**_BRAIN, "missing": 0.4}, "disentangle_tumour"),
    "three_scanners": Case(
        "heart",
        {"subjects": 30, "test_subjects": 6, "folds": 2, "seed": 3, "modalities": ("cine", "lge", "t2")},
        "csa",
        edit=_each_on_one,
    ),
    "one_modality": Case(
        "cardiac",
        {**_CT_MR, "subjects": {"ct": 20, "mr": 5}, "test_subjects": {"ct": 5, "mr": 1}},
        "ummkd",
        edit=_first_alone,
        overrides={"separate": [], "kd_weight": 0.0},
    ),
}


PAGE = """# Plans

What `mmseg plan` wrote for phantoms of the situations that it tells apart, with {minutes} minutes of one thread of a
CPU. `python -m benchmarks.accuracy.plan` makes the phantoms (their arguments are in that file), plans and trains them;
what came of it is in [Plan a bundle of your own](../how-to/plan.md#what-a-plan-is-worth).
"""


def main() -> None:
    """Run the situations that are asked for, then print a table of all that were run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs") / "plan")
    parser.add_argument("--results", type=Path, default=RESULTS / "plan.json")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--situations", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--method", help="of the plan, instead of its own")
    parser.add_argument("--no-demo", action="store_true", help="the plans alone")
    parser.add_argument("--page", type=Path, help="write the plans of --minutes to this file, and run nothing")
    given = parser.parse_args()
    if given.page:
        given.page.write_text(_page(given.work, given.minutes), encoding="utf-8")
        return
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # what the plan measures is CPU time here, too
    results = read_json(given.results) if given.results.is_file() else {}
    for name in given.situations:
        case, folder = CASES[name], given.work / f"{name}_{given.minutes:g}"
        datalist = _data(case, given.work / "data" / name)
        found = results.setdefault(f"{name}, {given.minutes:g} min", {})
        label = f"plan {given.method}" if given.method else "plan"
        if label not in found:
            found[label] = _planned(case, folder, datalist, given.minutes, given.method)
            write_json(given.results, results)
        if "demo" not in found and not given.no_demo:
            found["demo"] = _demonstrated(case, folder / "demo", datalist, given.minutes)
            write_json(given.results, results)
    for name, found in results.items():
        for label, one in found.items():
            print(f"{name:40} {label:16} {one['method']:12} Dice {one['dice']:.3f} in {one['seconds']:.0f} s")


def _data(case: Case, folder: Path) -> Path:
    path = folder / "datalist.json"
    if not path.is_file():
        getattr(phantom, f"make_{case.make}_phantom")(folder, **case.arguments)
        if case.edit is not None:
            content = json.loads(path.read_text(encoding="utf-8"))
            case.edit(content)
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _planned(case: Case, folder: Path, datalist: Path, minutes: float, method: str | None) -> dict[str, Any]:
    out = folder / f"bundle_{method or 'plan'}"
    if not (out / "plan.json").is_file():
        made = make_plan(datalist, out, budget=f"{minutes:g}m", method=method, device="cpu", workers=1)
        (out / "stages.json").write_text(json.dumps(made.stages), encoding="utf-8")
    name, seconds = read_json(out / "plan.json")["method"]["name"], 0.0
    for number, config in enumerate(read_json(out / "stages.json")):
        seconds += _timed("training", [out / config], {"resume": True}, folder / f"{out.name}_{number}.log")
    configs = [out / "configs" / "train.json", out / "configs" / "evaluate.json"]
    _timed("evaluating", configs, {}, folder / f"{out.name}_evaluating.log")
    return {"method": name, "dice": _dice(out / "eval", case), "seconds": seconds}


def _demonstrated(case: Case, folder: Path, datalist: Path, minutes: float) -> dict[str, Any]:
    """The demonstration with as many epochs as the time has room for."""
    staged, seconds = case.demo == "disentangle_tumour", 0.0
    shutil.copytree(ROOT / "bundles" / case.demo, folder / case.demo, dirs_exist_ok=True)
    if staged:
        shutil.copytree(ROOT / "bundles" / "disentangle", folder / "disentangle", dirs_exist_ok=True)
    data = {"dataset_dir": str(datalist.parent.resolve()), **case.overrides}
    for bundle in ("disentangle", case.demo) if staged else (case.demo,):
        overlays = case.overlays if bundle == case.demo else ("demo",)
        files = [folder / bundle / "configs" / f"{name}.json" for name in ("train", *overlays)]
        listed = read_json(datalist)
        known = {**data, "modalities": listed["modalities"]}
        if bundle == case.demo:
            known["labels"] = listed["labels"]
        given = {**data, "max_epochs": _epochs(folder / bundle, overlays, known, minutes * 60 / (1 + staged))}
        given["val_interval"] = max(1, given["max_epochs"] // 3)
        seconds += _timed("training", files, {**given, "resume": True}, folder / f"{bundle}.log")
    _timed("evaluating", [*files, files[0].with_name("evaluate.json")], data, folder / "evaluating.log")
    return {"method": case.demo, "dice": _dice(folder / case.demo / "eval", case), "seconds": seconds}


def _epochs(bundle: Path, overlays: tuple[str, ...], data: Mapping[str, Any], seconds: float) -> int:
    found = measure_bundle(bundle, device="cpu", overlays=overlays, overrides=data)
    spare = seconds - found["start"] - 3 * found["validation"]
    return max(1, round(spare / found["step"] / found["length"]))


def _page(work: Path, minutes: float) -> str:
    """What was planned for each situation, as ``mmseg plan`` prints it."""
    parts = [PAGE.format(minutes=f"{minutes:g}")]
    for name in CASES:
        path = work / f"{name}_{minutes:g}" / "bundle_plan" / "plan.json"
        if not path.is_file():
            continue
        made = read_json(path)
        facts = "\n".join(f"- {key}: {text}" for key, text in made["situation"]["facts"].items())
        rows = "\n".join(
            f"| {one['name']} | `{one['knob']}` | `{shown(one['value'])}` | {one['reason']} |" for one in made["rules"]
        )
        parts.append(
            f"## {name}: {made['situation']['name']}\n\n{facts}\n\nMethod: **{made['method']['name']}**. "
            f"{made['method']['reason'][0].upper()}{made['method']['reason'][1:]}.\n\n"
            f"| rule | knob | value | reason |\n| --- | --- | --- | --- |\n{rows}\n"
        )
    return "\n".join(parts)


def _timed(run_id: str, files: list[Path], overrides: Mapping[str, Any], log: Path) -> float:
    """CPU seconds of a command."""
    configs = files[0].resolve().parent
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{run_id}: {log}", flush=True)
    names = [path.resolve().relative_to(configs).with_suffix("").as_posix() for path in files]
    words = command_words(run_id, configs.parent, names, overrides)
    return run_module("monai.bundle", words, log, folder=ROOT, environment={}).cpu


def _dice(output: Path, case: Case) -> float:
    """Mean over classes, then over modalities."""
    table = ScoreTable.from_json(sorted((output / "metrics").glob("*.json"))[0])
    lines = table.means("modality")
    wanted = [one for one in lines if case.scored in (None, one.case["modality"])]
    return sum(one.measures["dice"].mean for one in wanted) / len(wanted)


if __name__ == "__main__":
    main()
