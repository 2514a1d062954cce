# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a training step of each bundle costs, beside nothing but the convolutions in it.

    python -m benchmarks.speed.step [--rows dafnet ummkd ...] [--variants fp32 ...] [--steps 3] [--threads 1]

The objective, the optimisers and the trainer are those of ``bundles/<bundle>/configs/train.json`` at the paper's sizes;
only the batch is made here, of random numbers. A step is one iteration of the trainer. *Bare convolutions* are the
calls of ``convolution`` and ``convolution_backward`` that this step made, with the same shapes, strides and precision,
made again on tensors that are there already: what no program with this network can go below.

Each variant is a process of its own, in which the step and its bare convolutions run in turn. Figures are CPU time
(user and system) of the process on CPUs, minima over the steps, and the clock on GPUs; page faults are those of a step.

* ``fp32``: single precision, freed memory goes back to the system (as before);
* ``kept``: single precision, freed memory is kept;
* ``bf16``: kept, mixed precision with bfloat16;
* ``contiguous``: as ``kept``, without channels-last;
* ``compile``: bf16 with ``torch.compile`` (``"compile": true`` in the config).

On a GPU ``share_of_peak`` is the counted operations a second over what the chip's data sheet promises (dense). Writes
``benchmarks/results/step_<device>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ROOT
from benchmarks.timing import clock, machine, peak_memory, speed_parser
from monai_mmseg.files import write_json

VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {"amp": False},
    "kept": {"amp": False},
    "contiguous": {"amp": False, "channels_last": False},
    "bf16": {"amp": True},
    "compile": {"amp": True, "compile": True},
}
"""Settings of the bundle in each variant; ``fp32`` runs with ``MMSEG_KEEP_MEMORY=0``."""
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "ummkd": ("ummkd", {"batch_size": 2}),
    "ummkd_3d": ("ummkd_3d", {"spatial_size": [128, 128, 8], "features": [32, 64, 128, 256]}),
    "csa": ("csa", {"batch_size": 2}),
    "disentangle": ("disentangle", {"batch_size": 2}),
    "disentangle_conv": ("disentangle", {"batch_size": 2, "settings": "conv_sim"}),
    "dafnet_96": ("dafnet", {"batch_size": 1, "spatial_size": [96, 96]}),
    "dafnet": ("dafnet", {"batch_size": 1}),
    "dafnet_demo": ("dafnet", {"settings": "../demo"}),
}
"""Bundle and settings of each row; those of ``train.json`` otherwise."""


PEAK_TFLOPS = {"H100": (67.0, 989.0), "H200": (67.0, 989.0), "A100": (19.5, 312.0), "TITAN X": (11.0, 11.0)}
"""Dense operations a second in float32 and bfloat16, by a part of the device's name."""


def make_batch(bundle: str, config: ConfigParser, device: torch.device) -> dict[str, Any]:
    """Random images and labels, in the shapes that the bundle's loader gives; everything is there."""
    generator = torch.Generator().manual_seed(1)
    size, names = list(config.get_parsed_content("spatial_size")), list(config["modalities"])
    classes = len(config["labels"]) if "labels" in config.get() else 2
    rows = int(config["batch_size"])

    def image(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).mul(2).sub(1).to(device)

    def label(*shape: int) -> Tensor:
        return torch.randint(0, classes, shape, generator=generator).to(device)

    if bundle.startswith("disentangle"):
        channels = len(names) * int(config["num_slices"])
        return {
            "image": image(rows, channels, *size),
            "present": torch.ones(rows, len(names), dtype=torch.bool),
            "subject_index": torch.arange(rows),
        }
    if bundle == "dafnet":
        there = torch.ones(rows, len(names), dtype=torch.bool)
        content = {"image": image(rows, len(names), *size), "label": label(rows, len(names), *size)}
        return {**content, "present": there, "labelled": there.clone()}
    rows *= len(names)
    channels = 1 if len(size) == 3 else int(config["num_slices"])
    return {
        "image": image(rows, channels, *size),
        "label": label(rows, 1, *size),
        "modality": torch.arange(len(names)).repeat_interleave(rows // len(names)),
        "labelled": torch.ones(rows, dtype=torch.bool),
    }


def make_step(row: str, variant: str, device: torch.device) -> tuple[Callable[[], None], Any]:
    """One iteration of the bundle's trainer, and the trainer."""
    bundle, settings = ROWS[row]
    folder = ROOT / "bundles" / bundle / "configs"
    config = ConfigParser()
    overlay = settings.get("settings")
    config.read_config([folder / "train.json", *([folder / "settings" / f"{overlay}.json"] if overlay else [])])
    known = config.get()
    chosen = {**settings, **VARIANTS[variant]}
    for key, value in chosen.items():
        if key in known:
            config[key] = value
    if chosen.get("compile") and "compile" not in known:
        raise SystemExit(f"{bundle}: its train.json has no knob compile.")
    config["device"] = f"$torch.device('{device}')"
    config["train"]["handlers"] = []
    config["initialize"] = []
    torch.manual_seed(0)
    batch = make_batch(bundle, config, device)
    config["train"]["dataloader"] = "$[None]"
    config["lr_scheduler"] = None
    config["train"]["trainer"]["amp_kwargs"] = {"dtype": "bfloat16"}
    config.parse(reset=True)
    trainer = config.get_parsed_content("train#trainer", instantiate=True)
    trainer.data_loader = [batch]
    trainer.state.max_epochs, trainer.state.epoch_length = 1, 1
    if hasattr(trainer.bare_objective, "align_start"):
        trainer.bare_objective.iteration = trainer.bare_objective.align_start  # the whole step, not its beginning's
    trainer.run()
    trainer.state.epoch_length = None

    def step() -> None:
        trainer.state.iteration += 1
        trainer._iteration(trainer, batch)

    return step, trainer


class Convolutions(TorchDispatchMode):
    """Records every convolution, forward and backward, with what it was given, in shapes only."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record the call and make it."""
        if func in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            self.calls.append((func, tuple(_like(value) for value in args)))
        return func(*args, **(kwargs or {}))


class _Shape:
    def __init__(self, tensor: Tensor) -> None:
        self.size, self.stride = tuple(tensor.shape), tensor.stride()
        self.dtype, self.device = tensor.dtype, tensor.device

    def key(self) -> tuple[Any, ...]:
        return self.size, self.stride, self.dtype, self.device

    def make(self) -> Tensor:
        length = 1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        memory = torch.randn(max(length, 1), device=self.device).mul_(0.1).to(self.dtype)
        return memory.as_strided(self.size, self.stride)  # also of what is expanded


def _like(value: Any) -> Any:
    return _Shape(value) if isinstance(value, Tensor) else value


def bare_convolutions(step: Callable[[], None]) -> tuple[Callable[[], None], int]:
    """The convolutions of a step and nothing else, and how many there are."""
    with Convolutions() as record:
        step()
    pool: dict[tuple[Any, ...], Tensor] = {}
    calls = []
    for func, args in record.calls:
        made = []
        for value in args:
            if isinstance(value, _Shape):
                if value.key() not in pool:
                    pool[value.key()] = value.make()
                value = pool[value.key()]
            made.append(value)
        calls.append((func, made))

    def run() -> None:
        for func, args in calls:
            func(*args)

    return run, len(calls)


def measure(row: str, variant: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of one variant of one row, in this process."""
    device = arguments.device
    torch.set_num_threads(arguments.threads)
    step, trainer = make_step(row, variant, device)
    flops = 0
    if variant != "compile":
        with FlopCounterMode(display=False) as counter:
            step()
        flops = int(counter.get_total_flops())
        bare, calls = bare_convolutions(step)
    found: dict[str, list[float]] = {"step": [], "bare": []}
    faults, system = [], []
    runs = {"step": step} if variant == "compile" else {"step": step, "bare": bare}
    for run in runs.values():
        run()
        run()
    for _ in range(arguments.steps):
        for name, run in runs.items():
            before, start = resource.getrusage(resource.RUSAGE_SELF), clock(device)
            run()
            wall, after = clock(device) - start, resource.getrusage(resource.RUSAGE_SELF)
            user, kernel = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
            found[name].append(wall if device.type == "cuda" else user + kernel)
            if name == "step":
                faults.append(after.ru_minflt - before.ru_minflt)
                system.append(kernel)
    result = {
        "seconds": min(found["step"]),
        "all_seconds": [round(value, 4) for value in found["step"]],
        "seconds_in_kernel": min(system),
        "page_faults": min(faults),
        "peak_memory_mb": round(peak_memory(device)),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
    }
    if variant != "compile":
        result.update(
            gflop=round(flops / 1e9, 2),
            convolutions=calls,
            seconds_of_bare_convolutions=min(found["bare"]),
            over_bare_convolutions=min(found["step"]) / min(found["bare"]),
        )
        if device.type == "cuda" and (peaks := _peak_tflops(device)):
            peak = peaks[1 if VARIANTS[variant]["amp"] else 0]
            result["share_of_peak"] = flops / 1e12 / min(found["step"]) / peak
    return result


def _peak_tflops(device: torch.device) -> tuple[float, float] | None:
    name = torch.cuda.get_device_name(device)
    return next((peaks for known, peaks in PEAK_TFLOPS.items() if known in name), None)


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    lines = [
        "| step of | variant | s | over `fp32` | over bare convolutions | page faults | peak, MB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row, variants in report["rows"].items():
        base = variants.get("fp32", {}).get("seconds")
        for variant, found in variants.items():
            bare = found.get("over_bare_convolutions")
            cells = [
                row,
                variant,
                f"{found['seconds']:.3f}",
                f"{found['seconds'] / base:.2f}" if base else "–",
                f"{bare:.2f}" if bare else "–",
                f"{found['page_faults']:,}",
                f"{found['peak_memory_mb']:,}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = speed_parser(__doc__)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["fp32", "kept", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", action="store_true", help="measure the one variant in this process and print it")
    arguments = parser.parse_args()
    if arguments.only:
        (row,), (variant,) = arguments.rows, arguments.variants
        print(json.dumps(measure(row, variant, arguments)))
        return
    report: dict[str, Any] = {**machine(arguments.device), "threads": arguments.threads, "rows": {}}
    for row in arguments.rows:
        for variant in arguments.variants:
            words = ["--rows", row, "--variants", variant, "--threads", str(arguments.threads), "--only"]
            words += ["--steps", str(arguments.steps), "--device", str(arguments.device)]
            environment = {**os.environ, "MMSEG_KEEP_MEMORY": "0" if variant == "fp32" else "1"}
            command = [sys.executable, "-m", "benchmarks.speed.step", *words]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{row}, {variant}: {done.stderr[-2000:]}")
            report["rows"].setdefault(row, {})[variant] = json.loads(done.stdout.splitlines()[-1])
            write_json(ROOT / arguments.results / f"step_{arguments.device.type}.json", report)
            print(table({"rows": {row: {variant: report["rows"][row][variant]}}}).splitlines()[-1], flush=True)
    print(table(report))


if __name__ == "__main__":
    main()
