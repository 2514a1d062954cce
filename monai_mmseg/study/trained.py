# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A cell of a bundle: its trainings and the evaluation, each an ordinary ``monai.bundle run`` with a log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.files import write_json, write_text
from monai_mmseg.study.cells import SCORES, Cell, CellResult
from monai_mmseg.study.facts import Facts
from monai_mmseg.study.methods import Command, Method
from monai_mmseg.study.plans import Training
from monai_mmseg.study.process import Used, command_words, run_module


def run_bundle_cell(
    method: Method,
    trainings: Sequence[Training],
    cell: Cell,
    folder: Path,
    data: Path,
    facts: Facts,
    *,
    evaluating: Mapping[str, Any],
    paper_dice: bool,
    threads: int,
    before: Used | None = None,
) -> CellResult:
    """Train and score one cell; what was finished of it is not run again.

    Args:
        method: of the kind "bundle".
        trainings: in turn.
        cell: which.
        folder: where everything goes.
        data: folder of its datalist.
        facts: of the datalist.
        evaluating: overrides of the evaluation.
        paper_dice: also Dice as the method's paper counts it, where the bundle knows one.
        threads: of the CPU.
        before: what its datalist took, a part of the training.

    Raises:
        CommandError: a command failed.
    """
    spent = _Spent()
    if before:
        spent.add("training", before)
    taken: dict[str, Any] = {}
    tables, steps, parameters = [], 0, 0
    bare = () if facts.labelled[facts.target] else method.bare
    for one in trainings:
        place = folder / one.name
        common = {
            "dataset_dir": str(data.resolve()),
            "ckpt_dir": str((place / "models").resolve()),
            "output_dir": str(place.resolve()),
            "method": method.name,
            "seed": cell.seed,
            **one.overrides,
            **({} if one.stage else taken),
        }
        configs = ("train", *one.overlays, *(() if one.stage else bare))
        train = _once("training", one.bundle, configs, {**common, "resume": True}, place, threads)
        spent.add("training", train)
        steps += _steps(place)
        if one.stage:
            if one.stage.then:
                spent.add("evaluating", _run_command(one.stage.then, one.bundle, common, place, threads))
            taken |= {name: str((place / path).resolve()) for name, path in one.stage.gives.items()}
            continue
        extra = {"paper_dice": True} if paper_dice and _has(one.bundle, "paper_dice") else {}
        given = {**common, **extra, **evaluating}
        spent.add("evaluating", _once("evaluating", one.bundle, (*configs, "evaluate"), given, place, threads))
        tables.append(ScoreTable.from_json(place / (method.scores or f"metrics/{method.name}.json")))
        parameters += _parameters(place)
        (place / "models" / "resume.pt").unlink(missing_ok=True)  # it went on to the end
    write_text(folder / SCORES, tables[0].join(*tables[1:]).to_json())
    return CellResult(cell, folder, "done", "", spent.seconds(), steps, parameters)


class _Spent:
    """Seconds of the clock and of the CPU, of training and of all else apart."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("training", "evaluating", "cpu", "cpu_evaluating"), 0.0)

    def add(self, kind: str, used: Used) -> None:
        self._sums[kind] += used.clock
        self._sums["cpu" if kind == "training" else "cpu_evaluating"] += used.cpu

    def seconds(self) -> dict[str, float]:
        return {name: round(value, 2) for name, value in self._sums.items()}


def _run_command(command: Command, bundle: Path, common: Mapping[str, Any], place: Path, threads: int) -> Used:
    """What a stage does after its training, such as redrawing images; the datalist has the labels that may be used."""
    given = {"dataset_dir": common["dataset_dir"], "ckpt_dir": common["ckpt_dir"], **command.overrides}
    given["output_dir"] = str((place / "output").resolve())
    return _once(command.run_id, bundle, command.configs, given, place, threads)


def _has(bundle: Path, name: str) -> bool:
    """Whether the evaluation of a bundle has a setting."""
    return name in json.loads((bundle / "configs" / "evaluate.json").read_text(encoding="utf-8"))


def _once(
    run_id: str, bundle: Path, configs: Sequence[str], overrides: Mapping[str, Any], place: Path, threads: int
) -> Used:
    """Run a command unless it has ended before; its time is kept."""
    place.mkdir(parents=True, exist_ok=True)
    kept = place / f"{run_id}.json"
    if not kept.is_file():
        words = command_words(run_id, bundle, configs, overrides)
        used = run_module("monai.bundle", words, place / f"{run_id}.log", folder=place, environment={}, threads=threads)
        write_json(kept, {**used._asdict(), "words": words})
    content = json.loads(kept.read_text(encoding="utf-8"))
    return Used(content["clock"], content["cpu"])


def _steps(place: Path) -> int:
    """Updates of the weights, from the checkpoint that a training goes on from."""
    path, kept = place / "models" / "resume.pt", place / "steps.json"
    if path.is_file():
        state = torch.load(path, map_location="cpu", weights_only=False)  # written by this study
        write_json(kept, {"steps": int(state["iteration"])})
    return int(json.loads(kept.read_text(encoding="utf-8"))["steps"]) if kept.is_file() else 0


def _parameters(place: Path) -> int:
    """Trained parameters of the network, by the definition that lies beside its weights; 0 where it has none."""
    path = place / "models" / "settings.json"
    definition = json.loads(path.read_text(encoding="utf-8"))["definitions"].get("network_def") if path.is_file() else 0
    if not isinstance(definition, dict):
        return 0
    with torch.device("meta"):
        network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
