# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""nnU-Net v2 as one of the methods: an outside program with its own planner, in the time that the others have.

It is no requirement of this package: install it into an environment of its own (``pip install nnunetv2``) and name it.
Its own trainer runs ten epochs of its schedule with as many steps as the time has room for; a few timed steps say how
many. Planning, and prediction with its mirrored copies, come on top. It learns from labels alone: images that train and
have none, as where a setting took them away, are not shown to it.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_mmseg.data.borrowed import has_true_label
from monai_mmseg.data.datalist import read_datalist, read_raw, stored_item
from monai_mmseg.data.visits import examination_name
from monai_mmseg.evaluation.evaluate import evaluate_predictions
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.files import write_json, write_text
from monai_mmseg.preparation.export_nnunet import UnfitCases, export_nnunet
from monai_mmseg.study.cells import SCORES, Cell, CellResult
from monai_mmseg.study.methods import Method, StudyError
from monai_mmseg.study.plans import device
from monai_mmseg.study.process import Used, run_program

EPOCHS = 10
SHORT, LONG = 3, 13  # steps of the two trainings that are timed
FIRST = 101  # number of the first data set
PLANS = {"cpu": ("-gpu_memory_target", "0.1", "-overwrite_plans_name", "small"), "cuda": ()}
TRAINER = '''
import os
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class TimedTrainer(nnUNetTrainer):
    """Numbers of epochs and steps from the environment; validation cases are not predicted at the end."""

    def initialize(self):
        self.num_epochs = int(os.environ["TIMED_EPOCHS"])
        self.num_iterations_per_epoch = int(os.environ["TIMED_STEPS"])
        self.num_val_iterations_per_epoch = 1
        super().initialize()

    def perform_actual_validation(self, save_probabilities=False):
        pass
'''


def find_nnunet(environment: str | None) -> Path:
    """Folder of nnU-Net's programs.

    Args:
        environment: a virtual environment; ``None``: they are on the PATH.

    Raises:
        StudyError: they are not there.
    """
    found = shutil.which("nnUNetv2_train", path=None if environment is None else str(Path(environment) / "bin"))
    if found is None:
        where = "on the PATH" if environment is None else f"in {environment}"
        raise StudyError(f"nnUNetv2_train is not {where}: pip install nnunetv2, and give its environment as --nnunet.")
    return Path(found).resolve().parent


class NNUNet:
    """The programs of an environment in folders of their own.

    Args:
        programs: folder of the programs.
        work: folder for all that it writes.
        threads: of the CPU.
    """

    def __init__(self, programs: Path, work: Path, *, threads: int = 1) -> None:
        self.bin, self.work = programs, work
        places = {name: work / name for name in ("raw", "preprocessed", "results")}
        for one in places.values():
            one.mkdir(parents=True, exist_ok=True)
        write_text(work / "trainer" / "timed_trainer.py", TRAINER)
        self.environment = {
            **{f"nnUNet_{name}": str(one) for name, one in places.items()},
            **{"nnUNet_extTrainer": str(work / "trainer"), "nnUNet_compile": "f", "nnUNet_def_n_proc": "1"},
            **{"OMP_NUM_THREADS": str(threads), "PYTHONPATH": "", "nnUNet_n_proc_DA": "1"},
            **{"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"},
        }
        self.raw, self.results = places["raw"], places["results"]
        self.device, self.plans = device(), "small" if device() == "cpu" else "nnUNetPlans"

    def run(self, program: str, *words: object, **more: str) -> Used:
        """Run one of its programs; all that they say goes to one log."""
        line = [str(self.bin / program), *map(str, words)]
        log, environment = self.work / "log.txt", {**self.environment, **more}
        return run_program(line, log, folder=self.work, environment=environment, append=True)

    def train(self, number: int, configuration: str, steps: int, epochs: int = 1) -> Used:
        """Train a data set from the beginning."""
        for old in self.results.glob(f"Dataset{number}_*"):
            shutil.rmtree(old)
        count = {"TIMED_EPOCHS": str(epochs), "TIMED_STEPS": str(steps), "nnUNet_n_proc_DA": "0"}
        words = (number, configuration, 0, "-device", self.device, "-p", self.plans, "-tr", "TimedTrainer")
        return self.run("nnUNetv2_train", *words, **count)


def run_nnunet_cell(
    method: Method,
    cell: Cell,
    folder: Path,
    data: Path,
    *,
    environment: str | None,
    budget: float | None,
    steps: int | None,
    paper_dice: str | bool,
    threads: int,
) -> CellResult:
    """Export, plan, train, predict and score one cell.

    Args:
        method: with the option ``form``, and maybe ``configuration`` (``2d``).
        cell: which.
        folder: where everything goes.
        data: folder of its datalist.
        environment: of nnU-Net.
        budget: seconds of training, of all networks of a form together.
        steps: of each network; without both, nnU-Net's own thousand epochs.
        paper_dice: also Dice by the rule of this paper.
        threads: of the CPU.

    Raises:
        StudyError: nnU-Net is not there.
        UnfitCases: it cannot take the data, or no image that trains has a label.
    """
    datalist, work = data / "datalist.json", folder / "nnunet"
    shutil.rmtree(work, ignore_errors=True)
    net = NNUNet(find_nnunet(environment), work.resolve(), threads=threads)
    form, configuration = method.options["form"], method.options.get("configuration", "2d")
    labelled = _labelled(datalist, work, form)
    try:
        written = export_nnunet(labelled, net.raw, number=FIRST, form=form)
    except UnfitCases as error:
        raise UnfitCases(str(error).replace(str(labelled), str(datalist))) from error
    numbers = [FIRST + place for place in range(len(written))]
    words = ("-c", configuration, "-np", 1, "-npfp", 1, *PLANS[net.device])
    planning = net.run("nnUNetv2_plan_and_preprocess", "-d", *numbers, *words)
    clock = cpu = 0.0
    predicting, done = Used(), 0
    predictions: dict[tuple[str, str], Path] = {}
    for number in numbers:
        length = _steps(net, number, configuration, None if budget is None else budget / len(numbers), steps)
        used = net.train(number, configuration, length, EPOCHS)
        clock, cpu, done = clock + used.clock, cpu + used.cpu, done + length * EPOCHS
        (raw,) = net.raw.glob(f"Dataset{number}_*")
        out = work.resolve() / f"predicted_{number}"
        words = ("-d", number, "-c", configuration, "-f", 0, "-p", net.plans, "-tr", "TimedTrainer")
        places = ("-i", raw / "imagesTs", "-o", out, "-device", net.device, "-npp", 1, "-nps", 1)
        used = net.run("nnUNetv2_predict", *places, *words)
        predicting = Used(predicting.clock + used.clock, predicting.cpu + used.cpu)
        predictions |= _found(raw / "cases.csv", out)
    write_text(folder / SCORES, _scores(datalist, predictions, method.name, paper_dice).to_json())
    for place in (net.results, net.raw, work / "preprocessed"):
        shutil.rmtree(place)
    seconds = {"training": clock, "cpu": cpu, "evaluating": predicting.clock, "cpu_evaluating": predicting.cpu}
    seconds["planning"] = planning.clock
    return CellResult(cell, folder, "done", "", {name: round(one, 2) for name, one in seconds.items()}, done)


def _labelled(datalist: Path, folder: Path, form: str) -> Path:
    """The list without what trains without a label: items, or subjects where channels share a label."""
    content = read_datalist(datalist)

    def name(item: Mapping[str, Any]) -> tuple[str, str]:
        return item["subject"], "" if form == "channels" else item["modality"]

    items = content.items("training")
    labelled = {name(item) for item in items if item.get("label")}
    wanted = content.modalities if form == "each" else [""]
    if lacking := [one for one in wanted if not any(one in ("", modality) for _, modality in labelled)]:
        raise UnfitCases(f"{datalist}: no image{' of ' * bool(lacking[0])}{lacking[0]} that trains has a label.")
    sections = {**content.sections, "training": [item for item in items if name(item) in labelled]}
    stored = {key: [stored_item(item, folder.resolve()) for item in some] for key, some in sections.items()}
    folder.mkdir(parents=True, exist_ok=True)
    return write_json(folder / "datalist.json", {**read_raw(datalist)[0], **stored})


def _steps(net: NNUNet, number: int, configuration: str, budget: float | None, steps: int | None) -> int:
    """Steps of each of the epochs."""
    if steps is not None:
        return max(1, steps // EPOCHS)
    if budget is None:
        return 250 * 1000 // EPOCHS  # its own: as many, in fewer epochs
    cpu = net.device == "cpu"
    short, long = (net.train(number, configuration, count) for count in (SHORT, LONG))
    first, last = (one.cpu if cpu else one.clock for one in (short, long))
    step = max(1e-6, (last - first) / (LONG - SHORT))
    return max(1, int((budget - (first - SHORT * step)) / step / EPOCHS))


def _found(cases: Path, folder: Path) -> dict[tuple[str, str], Path]:
    """Subject and modality to predicted file."""
    with cases.open(encoding="utf-8", newline="") as file:
        listed: list[Mapping[str, Any]] = list(csv.DictReader(file))
    files = {}
    for one in listed:
        subject = examination_name(one["subject"], one["visit"]) if one["visit"] else one["subject"]
        files[subject, one["modality"]] = folder / f"{one['case']}.nii.gz"
    return {name: path for name, path in files.items() if path.is_file()}


def _scores(
    datalist: Path, predictions: Mapping[tuple[str, str], Path], method: str, paper_dice: str | bool
) -> ScoreTable:
    tables, content = [], read_datalist(datalist)
    scored = {item["modality"] for item in content.items("test") if has_true_label(item)}
    known = [name for name in content.modalities if name in scored] or content.modalities
    bare = ", ".join(name for name in content.modalities if name not in known)
    for modality in known:
        # a case of several channels is of no modality: it is scored against the labels of each
        mine = {subject: path for (subject, name), path in predictions.items() if name in (modality, "")}
        if mine:
            about: dict[str, Any] = {
                "modality": modality,
                "section": "test",
                "method": method,
                "paper_dice": paper_dice,
                "remarks": [f"Not scored, for no image has a label: {bare}."] if bare else [],
            }
            tables.append(evaluate_predictions(datalist, mine, **about))
    return tables[0].join(*tables[1:])
