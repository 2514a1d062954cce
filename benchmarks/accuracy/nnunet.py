# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""nnU-Net v2 on the data of an unpaired plan: Dice after the same time of a CPU, trained on both modalities or on each.

nnU-Net is not a requirement: install it into an environment of its own (``pip install nnunetv2``) and name it.

    python -m benchmarks.accuracy.nnunet runs/plan/data/unpaired_2d/datalist.json --environment NNUNET_ENV --minutes 3

It plans itself (2D, ``-gpu_memory_target 0.1``: its smallest) and trains with its own trainer as many steps as the time
has room for, in ten epochs of its schedule; a few timed steps say how many. Time is that of one thread of the CPU;
planning, and prediction with nnU-Net's mirrored copies, come on top. Two networks of one modality have half of it each.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cells import read_json, write_json
from benchmarks.runs import ROOT
from monai_mmseg.data import read_datalist
from monai_mmseg.evaluation import evaluate_predictions
from monai_mmseg.preparation import export_nnunet

EPOCHS = 10
SHORT, LONG = 3, 13  # steps of the two trainings that are timed
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


class NNUNet:
    """The programs of an environment, one thread, in folders of their own."""

    def __init__(self, environment: Path, work: Path) -> None:
        self.bin, self.work = environment / "bin", work
        places = {name: work / name for name in ("raw", "preprocessed", "results")}
        for one in places.values():
            one.mkdir(parents=True, exist_ok=True)
        (work / "trainer").mkdir(exist_ok=True)
        (work / "trainer" / "timed_trainer.py").write_text(TRAINER, encoding="utf-8")
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            **{f"nnUNet_{name}": str(one) for name, one in places.items()},
            **{"nnUNet_extTrainer": str(work / "trainer"), "nnUNet_compile": "f", "nnUNet_def_n_proc": "1"},
            **{"OMP_NUM_THREADS": "1", "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"},
        }
        self.raw, self.results = places["raw"], places["results"]

    def run(self, program: str, *words: object, **more: str) -> float:
        """CPU seconds of a program."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with (self.work / "log.txt").open("a", encoding="utf-8") as log:
            line = [str(self.bin / program), *map(str, words)]
            subprocess.run(line, env={**self.environment, **more}, stdout=log, stderr=log, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def train(self, number: int, steps: int, epochs: int = 1) -> float:
        """CPU seconds of a training."""
        for old in self.results.glob(f"Dataset{number}_*"):
            shutil.rmtree(old)
        count = {"TIMED_EPOCHS": str(epochs), "TIMED_STEPS": str(steps), "nnUNet_n_proc_DA": "0"}
        words = (number, "2d", 0, "-device", "cpu", "-p", "small", "-tr", "TimedTrainer")
        return self.run("nnUNetv2_train", *words, **count)


def main() -> None:
    """Train, predict, score; what was done is kept in ``--work``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--environment", type=Path, required=True, help="a virtual environment with nnunetv2")
    parser.add_argument("--work", type=Path, default=Path("runs") / "nnunet")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "nnunet.json")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, of all networks of a form together")
    given = parser.parse_args()
    results = read_json(given.results) if given.results.is_file() else {}
    modalities = read_datalist(given.datalist).modalities
    for form, first in (("mixed", 101), ("each", 201)):
        name = f"{given.datalist.resolve().parent.name}, {given.minutes:g} min, {form}"
        if name not in results:
            numbers = [first] if form == "mixed" else [first + place for place in range(len(modalities))]
            results[name] = _cell(given, form, numbers)
            write_json(given.results, results)
    for name, found in results.items():
        print(f"{name:40} Dice {found['dice']:.3f} in {found['seconds']:.0f} s, {found['steps']} steps")


def _cell(given: argparse.Namespace, form: str, numbers: list[int]) -> dict[str, Any]:
    work = given.work / f"{form}_{given.minutes:g}"
    shutil.rmtree(work, ignore_errors=True)
    net = NNUNet(given.environment.resolve(), work.resolve())
    export_nnunet(given.datalist, net.raw, number=numbers[0], form=form)
    words = ("-c", "2d", "-np", 1, "-npfp", 1, "-gpu_memory_target", 0.1, "-overwrite_plans_name", "small")
    net.run("nnUNetv2_plan_and_preprocess", "-d", *numbers, *words, nnUNet_n_proc_DA="1")
    found: dict[str, Any] = {"seconds": 0.0, "steps": 0}
    predictions: dict[str, Path] = {}
    for number in numbers:
        spare = 60 * given.minutes / len(numbers)
        short, long = (net.train(number, steps) for steps in (SHORT, LONG))
        step = (long - short) / (LONG - SHORT)
        steps = max(1, int((spare - (short - SHORT * step)) / step / EPOCHS))
        found["seconds"] += net.train(number, steps, EPOCHS)
        found["steps"] += steps * EPOCHS
        (folder,) = net.raw.glob(f"Dataset{number}_*")
        out = work.resolve() / f"predicted_{number}"
        words = ("-d", number, "-c", "2d", "-f", 0, "-p", "small", "-tr", "TimedTrainer", "-device", "cpu")
        net.run("nnUNetv2_predict", "-i", folder / "imagesTs", "-o", out, *words, "-npp", 1, "-nps", 1)
        with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
            predictions |= _found(csv.DictReader(file), out)
    scores = _dice(given.datalist, predictions)
    return {**found, "modalities": scores, "dice": sum(scores.values()) / len(scores)}


def _found(cases: Any, folder: Path) -> dict[str, Path]:
    """Subject and modality to predicted file."""
    files = {f"{one['subject']}/{one['modality']}": folder / f"{one['case']}.nii.gz" for one in cases}
    return {name: path for name, path in files.items() if path.is_file()}


def _dice(datalist: Path, predictions: Mapping[str, Path]) -> dict[str, float]:
    """Mean over classes, by modality."""
    found = {}
    for modality in read_datalist(datalist).modalities:
        mine = {name.split("/")[0]: path for name, path in predictions.items() if name.endswith(f"/{modality}")}
        table = evaluate_predictions(datalist, mine, modality=modality, section="test")
        (line,) = table.means("modality")
        found[modality] = float(line.measures["dice"].mean)
    return found


if __name__ == "__main__":
    main()
