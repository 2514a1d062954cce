# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: segment late-gadolinium hearts without one label of that modality, beside the baselines.

    python -m benchmarks.demo --out runs/demo

Makes a heart phantom, trains a small DAFNet with labels on cine only and two U-Nets on the same data, and writes one
page with a table and pictures. Everything is trained here; nothing is downloaded or preloaded.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.progress import Counted, Progress, trained_share
from benchmarks.runs import Run, train_and_evaluate
from monai_mmseg.phantom import make_heart_phantom
from monai_mmseg.study.process import run_function, warm_up

if TYPE_CHECKING:
    from monai_mmseg.evaluation import ScoreTable

SUBJECTS, TEST_SUBJECTS, FOLDS = 32, 8, 8  # fold 0 is left out of training, as in every run of the bundle
MOST_THREADS = 4  # a step of this size does not use more
SELDOM = {"train#handlers#0#every": 4}  # epochs, which take seconds, between two files to resume from
DAFNET = Run("dafnet", ("settings/target_0", "demo"), {"epoch_length": 40, **SELDOM})  # 560 steps
UNETS = (
    Run("unet_source", ("settings/unet_source", "demo"), SELDOM),
    Run("unet_copied_masks", ("settings/unet_copied_masks", "demo"), SELDOM),
)
STAGES = {"phantom": 15.0, "U-Nets": 20.0, "DAFNet": 80.0}  # seconds on two cores
MEANING = {
    "copy": "cine masks put on the LGE slices by position (needs the cine mask of the test subject)",
    "unet_source": "U-Net trained on cine and its labels",
    "unet_copied_masks": "U-Net trained on LGE images with copied cine masks",
    "dafnet": "DAFNet trained with labels on cine only",
}


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="where everything goes; taken up if cut off"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the phantom")
    arguments = parser.parse_args()
    out: Path = arguments.out
    warm_up()  # beside the phantom
    progress = Progress(STAGES)
    made = Counted("monai_mmseg.phantom", SUBJECTS)

    def say(text: str) -> None:
        progress.say(f"[{time.monotonic() - progress.begun:4.0f} s] {text}")

    say(f"Making a heart phantom with cine and LGE of {SUBJECTS} subjects (labels of LGE are kept for the test) ...")
    with progress.stage("phantom", made.share):
        datalist = make_heart_phantom(
            out / "data", subjects=SUBJECTS, test_subjects=TEST_SUBJECTS, folds=FOLDS, seed=arguments.seed
        )
    # The U-Nets beside each other, for one does not fill the cores; then DAFNet on all: beside it, they would idle.
    threads = min(usable_cpus(), MOST_THREADS)
    dataset_dir = Path(datalist).parent
    say(f"Training and evaluating: {', '.join(MEANING[run.name] for run in UNETS)} ...")
    lanes = min(len(UNETS), threads)
    train = partial(train_and_evaluate, dataset_dir=dataset_dir, threads=threads // lanes, echo=progress.say)
    with (
        progress.stage("U-Nets", lambda: mean(trained_share(out / run.name) for run in UNETS)),
        ThreadPoolExecutor(lanes + 1) as pool,
    ):
        copied = pool.submit(run_function, save_copied_masks, Path(datalist), out / "copy")
        tables = [found.scores for found in pool.map(lambda run: train(run, out / run.name), UNETS)]
        copied.result()
    tables.append(out / "copy" / "copy.json")
    say(f"Training and evaluating: {MEANING[DAFNET.name]} ...")
    # the run folder of DAFNet is the one that the page is made of
    with progress.stage("DAFNet", lambda: trained_share(out)):
        train_and_evaluate(DAFNET, out, dataset_dir, threads=threads, echo=progress.say)
    say("Done. Dice on the LGE of the test subjects:\n")
    run_function(show, out, tables)


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def copied_masks(datalist: Path, out: Path) -> ScoreTable:
    """Scores of the copied cine masks."""
    from monai_mmseg.baselines import copy_baseline
    from monai_mmseg.data import load_datalist
    from monai_mmseg.evaluation import evaluate_predictions

    items = load_datalist(datalist, "test")
    found = copy_baseline(items, "cine", "lge", out, overwrite=True)
    return evaluate_predictions(datalist, found, modality="lge", section="test", method="copy")


def save_copied_masks(datalist: Path, out: Path) -> None:
    """Write the scores of the copied cine masks, as ``copy.json``."""
    copied_masks(datalist, out).save(out, "copy")


def show(out: Path, others: Sequence[Path]) -> None:
    """Write the page, and print the table of everything."""
    from monai_mmseg.evaluation import ScoreTable
    from monai_mmseg.report import write_report

    for file in others:
        ScoreTable.from_json(file).save(out / "metrics", file.stem)
    page = write_report(out)
    names = ("copy", *(run.name for run in UNETS), DAFNET.name)
    tables = [ScoreTable.from_json(out / "metrics" / f"{name}.json") for name in names]
    print(ScoreTable().join(*tables).to_markdown())
    for method, text in MEANING.items():
        print(f"  {method}: {text}")
    print(f"\nOpen {page} in a browser.", flush=True)


if __name__ == "__main__":
    main()
