# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Everything that is worth measuring on a GPU, in one call: steps, loader, inference, at the papers' sizes.

    python -m benchmarks.speed.gpu [--results OUT] [--limit 540] [--device cuda]

In this order, so that a machine lent for minutes gives the most important figures first; what is finished is kept, and
a part that fails or runs out of time is said and passed over:

1. ``step``: a training step of every bundle in float32, bfloat16, without channels-last and with ``torch.compile``,
   beside its bare convolutions and the peak of the chip's data sheet;
2. ``loader``: samples a second with 1, 2 and 4 workers, beside what a step takes;
3. ``inference``: stages of volumes.

``--device cpu --small`` rehearses it in minutes. Nothing but torch, monai, nibabel, pytorch-ignite and fire is needed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import RESULTS, ROOT

PARTS: dict[str, list[list[str]]] = {
    "step": [["--variants", "fp32", "bf16", "--steps", "10"], ["--variants", "contiguous", "compile", "--steps", "10"]],
    "loader": [[]],
    "inference": [["--full"]],
}
"""Command lines of the modules of ``benchmarks/speed``."""
SMALL: dict[str, list[list[str]]] = {
    "step": [["--rows", "ummkd_3d", "--variants", "fp32", "bf16", "--steps", "1"]],
}
"""A rehearsal."""


def places(part: str, results: Path, device: str) -> list[str]:
    """Where a module writes, and on which device it runs, in its own words."""
    if part == "loader":
        return ["--results", str(results / "loader.json")]
    if part == "inference":
        return ["--report", str(results / f"inference_{device}.json"), "--name", device]
    return ["--results", str(results), "--device", device]


def main() -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--limit", type=float, default=540.0, help="seconds for all parts")
    parser.add_argument("--small", action="store_true", help="a rehearsal")
    arguments = parser.parse_args()
    if arguments.device == "cpu" and not arguments.small:
        parser.error("there is no GPU here; --small rehearses the script on a CPU.")
    end = time.monotonic() + arguments.limit
    for part, lines in (SMALL if arguments.small else PARTS).items():
        for words in lines:
            left = end - time.monotonic()
            command = [sys.executable, "-m", f"benchmarks.speed.{part}", *words]
            command += places(part, arguments.results.resolve(), arguments.device)
            print(f"[{left:4.0f} s left] {part} {' '.join(words)}", flush=True)
            try:
                code = subprocess.run(command, cwd=ROOT, timeout=max(left, 1.0)).returncode
            except subprocess.TimeoutExpired:
                print(f"{part}: no time left; its finished rows are kept.", flush=True)
                return
            if code:
                print(f"{part} ended with status {code}.", flush=True)


if __name__ == "__main__":
    main()
