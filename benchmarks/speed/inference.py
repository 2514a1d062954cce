# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What inference costs, stage by stage: reading, preprocessing, the network, the way back, writing.

    python -m benchmarks.speed.inference [--cases ct_120 ct_300 ...] [--name after] [--full]
    python -m benchmarks.speed.inference --compare before after

Everything comes from ``bundles/<bundle>/configs/inference.json``; only the volume is made here: a CT of 512 x 512
slices, 0.8 x 0.8 x 2.5 mm. The network has the paper's windows and random weights, and a few channels unless
``--full``: what is compared is what is not the network. Each case runs twice in a process of its own: in stages, and
as a whole by the bundle's evaluator, whose peak of resident memory counts (with what Python and its libraries take).
``--volumes 3`` takes so many in one run, read ahead and written behind; ``--no-ahead`` one after the other: two rows,
whose seconds by the clock say what the overlap gains (on idle cores; ``--threads 1`` leaves one to the reader).
Seconds are CPU time, on a GPU the clock. ``--name`` is the state of the code; ``--compare`` puts two side by side, with
the share of voxels whose label differs, out of ``--report`` and the volumes kept in ``--folder``. To measure an older
state, copy this file into a checkout of it.
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
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.transforms import Compose, apply_transform

from benchmarks import RESULTS, ROOT
from benchmarks.timing import clock, machine
from monai_mmseg.files import write_json

SMALL = {"features": [4, 8, 8, 8]}
CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "ct_120": ("ummkd_3d", (512, 512, 120), SMALL),
    "ct_40": ("ummkd_3d", (256, 256, 40), SMALL),
    "ct_300": ("ummkd_3d", (512, 512, 300), SMALL),
    "ct_300_as_stored": ("ummkd_3d", (512, 512, 300), {**SMALL, "pixdim": None}),
    "slices_120": ("ummkd", (512, 512, 120), {"features": [4, 4, 4, 4, 8, 8, 8, 8]}),
}
"""Bundle, voxels and settings."""


def make_volume(path: Path, shape: tuple[int, ...]) -> None:
    """Write smooth random tissue with noise, in HU."""
    random = torch.Generator().manual_seed(sum(shape))
    coarse = torch.rand(1, 1, 16, 16, 12, generator=random)
    tissue = F.interpolate(coarse, shape, mode="trilinear")[0, 0].mul_(600).sub_(300)
    tissue += torch.randn(shape, generator=random).mul_(20)
    image = nib.Nifti1Image(tissue.to(torch.int16).numpy(), np.diag([-0.8, -0.8, 2.5, 1.0]))
    nib.save(image, path)


def bundle_parser(name: str, folder: Path, out: Path, settings: dict[str, Any]) -> ConfigParser:
    """The bundle's inference of one item, without weights."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs" / "inference.json")
    parser["bundle_root"], parser["output_dir"], parser["amp"] = str(folder), str(out), False
    parser["ckpt_dir"] = str(folder / "none")
    for key, value in settings.items():
        parser[key] = value
    return parser


def measure(
    case: str, folder: Path, name: str, how: str, *, full: bool, volumes: int = 1, ahead: bool = True
) -> dict[str, float]:
    """Seconds and peak memory (MB) of each stage, or of the whole."""
    bundle, shape, settings = CASES[case]
    image = folder / f"{'x'.join(map(str, shape))}.nii.gz"
    if not image.is_file():
        make_volume(image, shape)
    out = folder / name / case
    parser = bundle_parser(bundle, folder, out, {} if full else dict(settings))
    names = [f"s{number:02d}" for number in range(1, volumes + 1)]
    parser["dataset#data"] = [{"image": str(image), "subject": name, "modality": "ct"} for name in names]
    if not ahead:
        parser["dataloader"]["_target_"] = "DataLoader"
    torch.manual_seed(0)
    device = parser.get_parsed_content("device")
    network = parser.get_parsed_content("network").eval()
    found: dict[str, float] = {"libraries and network MB": _peak()}

    def stage(title: str, before: float) -> None:
        found[title] = _seconds(device) - before
        found[f"{title} MB"] = _peak()
        _reset_peak()

    _reset_peak()
    if how == "whole":
        evaluator = parser.get_parsed_content("evaluator")
        start, clock_start = _seconds(device), clock(device)
        evaluator.run()
        by_clock = clock(device) - clock_start
        stage("whole", start)
        return {**found, "whole by the clock": by_clock}
    steps = list(parser.get_parsed_content("preprocessing").transforms)
    item: Any = parser["dataset#data"][0]
    for title, transforms in (("read", steps[:1]), ("preprocess", steps[1:])):
        start = _seconds(device)
        item = apply_transform(Compose(transforms), item)
        stage(title, start)
    inferer, after = parser.get_parsed_content("inferer"), parser.get_parsed_content("postprocessing").transforms
    start = _seconds(device)
    with torch.no_grad():
        item["pred"] = inferer(item["image"][None].to(device), network, modality="ct")[0]
    stage("network", start)
    for title, transforms in (("way back", after[:-1]), ("write", after[-1:])):
        start = _seconds(device)
        item = apply_transform(Compose(transforms), item)
        stage(title, start)
    return found


def _seconds(device: torch.device) -> float:
    """CPU time of the process, or on a GPU the clock."""
    if device.type == "cuda":
        return clock(device)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def compare(first: str, second: str, folder: Path, file: Path) -> None:
    """Print both states and the share of voxels whose label differs."""
    report = json.loads(file.read_text())
    for case in report.get(second, {}):
        rows = report.get(first, {}).get(case)
        if rows is None or case not in CASES:
            continue
        print(case)
        for title, value in report[second][case].items():
            print(f"  {title:28s} {rows.get(title, float('nan')):10.2f} {value:10.2f}")
        files = [next((folder / name / case).glob("*_seg.nii.gz"), None) for name in (first, second)]
        if None not in files:
            a, b = (np.asarray(nib.load(file).dataobj) for file in files if file is not None)
            share = float((a != b).mean())
            report[second][case]["share of labels that differ"] = share
            print(f"  labels that differ           {share:.2e}, classes {np.unique(b).tolist()}")
    write_json(file, report)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[case for case in CASES if case != "ct_40"], choices=list(CASES))
    parser.add_argument("--name", default="after")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "mmseg_inference"))
    parser.add_argument("--report", type=Path, default=RESULTS / "inference_cpu.json")
    parser.add_argument("--full", action="store_true", help="the paper's channels")
    parser.add_argument("--volumes", type=int, default=1, help="in one run; more than one: only as a whole")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--no-ahead", action="store_true", help="neither read ahead")
    parser.add_argument("--one", choices=["stages", "whole"], help=argparse.SUPPRESS)
    parser.add_argument("--compare", nargs=2, metavar="NAME")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.compare:
        compare(*arguments.compare, arguments.folder, arguments.report)
        return
    if arguments.one:
        torch.set_num_threads(arguments.threads)
        case = arguments.cases[0]
        more = {"full": arguments.full, "volumes": arguments.volumes, "ahead": not arguments.no_ahead}
        print(json.dumps(measure(case, arguments.folder, arguments.name, arguments.one, **more)))
        return
    report = json.loads(arguments.report.read_text()) if arguments.report.is_file() else {}
    report["machine"] = machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for case in arguments.cases:
        for how in ("stages", "whole") if arguments.volumes == 1 else ("whole",):
            words = ["--cases", case, "--name", arguments.name, "--folder", str(arguments.folder), "--one", how]
            line = [sys.executable, "-m", "benchmarks.speed.inference", *words, *["--full"] * arguments.full]
            line += ["--volumes", str(arguments.volumes), *["--no-ahead"] * arguments.no_ahead]
            line += ["--threads", str(arguments.threads)]
            text = subprocess.run(line, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout
            found = json.loads(text.strip().splitlines()[-1])
            way = "one after the other" if arguments.no_ahead else "read ahead"
            row = case if arguments.volumes == 1 else f"{case}, {arguments.volumes} volumes, {way}"
            report.setdefault(arguments.name, {}).setdefault(row, {}).update(found)
            print(case, how, found, flush=True)
            write_json(arguments.report, report)


if __name__ == "__main__":
    main()
