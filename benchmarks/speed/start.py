# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""CPU seconds until something happens: help, imports, the demonstration's phantom, the first step of a training.

    python -m benchmarks.speed.start --out start.json [--tree ANOTHER_CHECKOUT] [--repeats 3]

Every measure is a process of its own on one thread, user and system time with its children; the least of the repeats
counts. ``--tree`` measures another checkout, for a time before a change.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("cli", "phantom", "data", "losses", "metrics", "networks", "transforms")
HELP = ((), ("predict",), ("data", "phantom", "heart"))
PHANTOM = (
    "from monai_mmseg.phantom import make_heart_phantom as make; make({out!r}, subjects=32, test_subjects=8, folds=8)"
)
# stops before the first iteration: what is left is the time to come there
TRAINING = """
import os, runpy, sys
from ignite.engine import Events
from monai_mmseg.engines import ObjectiveTrainer
run = ObjectiveTrainer.run
def stopped(trainer):
    trainer.add_event_handler(Events.ITERATION_STARTED(once=1), lambda: os._exit(0))
    run(trainer)
ObjectiveTrainer.run = stopped
sys.argv = ["monai.bundle", "run", "training", "--config_file", {configs!r}, "--dataset_dir", {data!r}, "--ckpt_dir",
            {out!r} + "/models", "--output_dir", {out!r}]
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


def cpu_seconds(arguments: list[str], tree: Path) -> float:
    """User and system time of one Python process."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(tree), PYTHONWARNINGS="ignore")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(tree: Path, repeats: int) -> dict[str, float]:
    """CPU seconds by what is waited for."""
    found: dict[str, float] = {}

    def add(name: str, *arguments: str, times: int = repeats) -> None:
        found[name] = round(min(cpu_seconds(list(arguments), tree) for _ in range(times)), 2)
        print(f"{name:45} {found[name]:6.2f} s", flush=True)

    for words in HELP:
        add(" ".join(["mmseg", *words, "--help"]), "-m", "monai_mmseg", *words, "--help")
    add("import torch", "-c", "import torch")
    add("import monai", "-c", "import monai")
    for package in PACKAGES:
        add(f"import monai_mmseg.{package}", "-c", f"import monai_mmseg.{package}")
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/data"
        add("phantom of the demonstration", "-c", PHANTOM.format(out=data), times=1)
        for name, overlays in (("full size", []), ("demo", ["demo"])):
            files = [f"bundles/dafnet/configs/{c}.json" for c in ("train", "settings/target_0", *overlays)]
            run = TRAINING.format(configs=str(files), data=data, out=f"{folder}/{name}")
            add(f"DAFNet to its first iteration, {name}", "-c", run)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=Path(__file__).resolve().parents[2], help="checkout to measure")
    parser.add_argument("--repeats", type=int, default=3, help="of each measure but the phantom")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    found = measure(arguments.tree.resolve(), arguments.repeats)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
