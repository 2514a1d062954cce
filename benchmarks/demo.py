# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: segment late-gadolinium hearts without one label of that modality, beside the baselines.

    python -m benchmarks.demo --out runs/demo

Makes a heart phantom, trains a small DAFNet with labels on cine only and three U-Nets on the same data, and writes one
page with a table and pictures. Everything is trained here; nothing is downloaded or preloaded.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.progress import Counted, Progress, trained_share
from benchmarks.runs import Result, Run, train_and_evaluate
from monai_mmseg.phantom import make_heart_phantom
from monai_mmseg.study.process import run_function, warm_up

if TYPE_CHECKING:
    from monai_mmseg.evaluation import ScoreTable

SUBJECTS, TEST_SUBJECTS, FOLDS = 32, 8, 8  # fold 0 is left out of training, as in every run of the bundle
MOST_THREADS = 4  # a step of this size does not use more
SELDOM = {"train#handlers#0#every": 4}  # epochs, which take seconds, between two files to resume from
DAFNET = Run("dafnet", ("settings/target_0", "demo"), {"epoch_length": 40, **SELDOM})  # 560 steps
RUNS = (  # the longest first
    DAFNET,
    Run(
        "unet_source_randomised",
        ("settings/unet_source", "settings/randomised", "demo"),
        {"epoch_length": 108, **SELDOM},  # 1512 steps take the CPU time of DAFNet's training
    ),
    Run("unet_source", ("settings/unet_source", "demo"), SELDOM),
    Run("unet_copied_masks", ("settings/unet_copied_masks", "demo"), SELDOM),
)
EXPECTED = {"dafnet": 125.0, "unet_source_randomised": 120.0, "unet_source": 22.0, "unet_copied_masks": 22.0}  # seconds
STAGES = {"phantom": 15.0, "training": 155.0}  # seconds on two cores
MEANING = {
    "copy": "cine masks put on the LGE slices by position; needs the cine mask of the test subject",
    "unet_source": "U-Net on cine and its labels",
    "unet_copied_masks": "U-Net on LGE images with copied cine masks",
    "unet_source_randomised": "U-Net on cine and its labels, in random contrasts",
    "dafnet": "DAFNet on cine, its labels and LGE; uses the cine image of the test subject",
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
    # Two trainings beside each other fill two cores better than both cores fill one.
    threads = min(usable_cpus(), MOST_THREADS)
    lanes = min(2, threads)
    say(f"Training and evaluating {', '.join(run.name for run in RUNS)}, {lanes} at a time ...")
    given = {"dataset_dir": Path(datalist).parent, "threads": threads // lanes, "echo": progress.say}
    trainings = [partial(train_and_evaluate, run, run_folder(run, out), **given) for run in RUNS]
    copying = partial(run_function, save_copied_masks, Path(datalist), out / "copy")
    with progress.stage("training", partial(networks_share, out)):
        *results, _ = in_lanes([*trainings, copying], lanes)
    say("Done. On the LGE of the test subjects:\n")
    run_function(show, out, {run.name: result for run, result in zip(RUNS, results, strict=True)})


def run_folder(run: Run, out: Path) -> Path:
    """Where a run goes; the folder of DAFNet is the one that the page is made of."""
    return out if run is DAFNET else out / run.name


def networks_share(out: Path) -> float:
    """How much of all trainings and evaluations is done, from 0 to 1."""
    return sum(EXPECTED[run.name] * trained_share(run_folder(run, out)) for run in RUNS) / sum(EXPECTED.values())


def in_lanes(jobs: Sequence[Callable[[], Any]], lanes: int) -> list[Any]:
    """Call all, some at a time; what has not begun when one fails or the user stops is left out."""
    pool = ThreadPoolExecutor(lanes)
    try:
        return [one.result() for one in [pool.submit(job) for job in jobs]]
    finally:
        pool.shutdown(cancel_futures=True)


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


def show(out: Path, results: Mapping[str, Result]) -> None:
    """Write the page, and print the table of everything."""
    from monai_mmseg.evaluation import ScoreTable
    from monai_mmseg.report import write_report
    from monai_mmseg.runs import record_evaluation

    found = {"copy": ScoreTable.from_json(out / "copy" / "copy.json")}
    found |= {name: ScoreTable.from_json(result.scores) for name, result in results.items()}
    tables = [described(found[name], about_row(name, results.get(name))) for name in MEANING]
    for name, table in zip(MEANING, tables, strict=True):
        table.save(out / "metrics", name)
    if (out / "models" / "model.pt").is_file():  # the run's own table has a line more than what was evaluated
        record_evaluation(out, out / "models", "metrics/dafnet.json", section="test")
    page = write_report(out)
    print(ScoreTable().join(*tables).to_markdown())
    print(f"Open {page} in a browser.", flush=True)


def about_row(name: str, result: Result | None) -> str:
    """What a row of the table is, and what its training took."""
    if result is None or result.training_cpu is None:
        return MEANING[name]
    return f"{MEANING[name]}; trained in {result.training_cpu:.0f} s of CPU time"


def described(table: ScoreTable, text: str) -> ScoreTable:
    """The table with a line about its methods."""
    methods = {name: info._replace(description=text) for name, info in table.methods.items()}
    return type(table)(table, methods, {name: table.subjects(name) for name in methods})


if __name__ == "__main__":
    main()
