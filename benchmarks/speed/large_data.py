# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Memory and time of training on more volumes than fit into memory, and what formats on disk cost.

    python -m benchmarks.speed.large_data [--volumes 40] [--links 50] [--size 512] [--slices 120] [--cache disk]
    python -m benchmarks.speed.large_data --formats [--size 512] [--slices 120]

Makes a datalist of ``volumes * links`` subjects: synthetic CT volumes with a label, each linked under so many names.
Each cache is a process of its own that loads it through UMMKD's two-dimensional chain with two workers, and takes
batches for three epochs. Memory is what this process and its workers have for themselves (anonymous), of files that
they map (given back when others need it) and at most (RSS). For the cache in memory only four subjects are taken, and
the figure for all is extrapolated, as subjects there share nothing.

``--formats`` writes one volume in every format and reads random slices with two neighbours, and windows of eight.

Writes ``benchmarks/results/large_data.json`` or ``disk_formats.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader
from monai.transforms import Compose, NormalizeIntensityd, ScaleIntensityRanged
from numpy.typing import NDArray

from benchmarks import RESULTS
from benchmarks.timing import machine
from monai_mmseg.data import BalancedModalityBatchSampler, UnpairedSliceDataset
from monai_mmseg.engines.seeding import seed_data, stop_workers
from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.transforms import LoadImageItemd

EPOCHS, BATCHES, BATCH, WORKERS = 3, 40, 8, 2
IN_MEMORY = 4


def ct_volume(number: int, size: int, slices: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Whole Hounsfield units ``(size, size, slices)``: air, a body with smooth tissue and noise; and a label."""
    rng = np.random.default_rng(number)
    coarse = rng.standard_normal((size // 16 + 2, size // 16 + 2, slices // 4 + 2)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse)[None, None], (size, size, slices), mode="trilinear"
    )
    volume = smooth[0, 0].numpy() * 120 + rng.standard_normal((size, size, slices), dtype=np.float32) * 15
    x, y = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    label = ((smooth[0, 0].numpy() > 0.6) & (x**2 / 0.8 + y**2 / 0.5 < 0.7)[..., None]).astype(np.uint8)
    volume[(x**2 / 0.8 + y**2 / 0.5) > 1] = -1000
    return np.round(volume).astype(np.int16), label


def make_datalist(folder: Path, volumes: int, links: int, size: int, slices: int) -> list[dict[str, Any]]:
    """Items of all subjects; their files are links to a few."""
    items = []
    for number in range(volumes):
        files = [folder / f"{kind}_{number}.nii.gz" for kind in ("image", "label")]
        for path, array in zip(files, ct_volume(number, size, slices), strict=True):
            write_nifti(path, array, np.diag([0.8, 0.8, 2.5, 1.0]))
        for copy in range(links):
            own = [folder / f"{number}_{copy}_{path.name}" for path in files]
            for path, link in zip(files, own, strict=True):
                os.link(path, link)
            item = {"image": str(own[0]), "label": str(own[1]), "subject": f"s{number}_{copy}"}
            items.append({**item, "modality": "mr" if number % 2 else "ct"})
    return items


def train(items: list[dict[str, Any]], cache: str, cache_dir: str) -> dict[str, Any]:
    """What the loading half of a training run needs."""
    torch.set_num_threads(1)
    before = memory()
    window = ScaleIntensityRanged("image", -160, 240, 0, 1, clip=True)
    read = Compose([LoadImageItemd(default_modality="ct"), window, NormalizeIntensityd("image", channel_wise=True)])
    found: dict[str, Any] = {"subjects": len(items)}
    for kind in ("first start", "later start"):
        start, busy = time.perf_counter(), time.process_time()
        data = UnpairedSliceDataset(items, read, modalities=["ct", "mr"], cache=cache, cache_dir=cache_dir)  # type: ignore[arg-type]
        found[kind] = {"s": time.perf_counter() - start, "cpu_s": time.process_time() - busy}
        if cache == "memory":
            break
    found["slices"], found["mb_of_volumes"] = len(data), memory()["own"] - before["own"]
    sampler = BalancedModalityBatchSampler(data, BATCH, epoch_length=BATCHES)
    loader = DataLoader(data, batch_sampler=sampler, num_workers=WORKERS, persistent_workers=True)
    most, epochs = memory(), []
    for epoch in range(EPOCHS):
        seed_data(loader, 0, epoch)
        start = time.perf_counter()
        for number, _ in enumerate(loader):
            if number % 20 == 0:
                now = memory()
                most = {key: max(value, now[key]) for key, value in most.items()}
        epochs.append(time.perf_counter() - start)
    stop_workers(loader)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**found, "epoch_s": epochs, "mb": most, "mb_before": before, "mb_peak_of_main": own}


def memory() -> dict[str, float]:
    """MB of this process and its children: of their own (shared ones counted once), and of mapped files."""
    names = [os.getpid(), *_children(os.getpid())]
    found = {"own": 0.0, "files": 0.0}
    for name in names:
        try:
            text = Path(f"/proc/{name}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        values = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in text.splitlines()[1:]}
        anonymous = values.get("Pss_Anon", 0.0) + values.get("Pss_Shmem", 0.0)
        found["own"] += anonymous
        found["files"] += values["Pss"] - anonymous
    return found


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(one) for one in text.split()]


def formats(size: int, slices: int, folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Share of the bytes, CPU seconds of writing, CPU milliseconds of reading; slices first."""
    volume = ct_volume(0, size, slices)[0].astype(np.float32)
    array = np.ascontiguousarray((np.clip(volume, -160, 240) / 400).transpose(2, 0, 1))
    kinds: dict[str, tuple[Callable[[Path], Any], Callable[[Path, int, int], Any]]] = {
        "npy": (lambda p: np.save(p, array), lambda p, a, b: np.array(np.load(p, mmap_mode="r")[a:b])),
        "torch.load, as PersistentDataset": (
            lambda p: torch.save({"image": torch.from_numpy(array)}, p),
            lambda p, a, b: torch.load(p, weights_only=True)["image"][a:b].clone(),
        ),
    }
    try:
        import blosc2

        for codec, level in (("LZ4", 5), ("ZSTD", 1), ("ZSTD", 5)):
            settings = {
                "codec": blosc2.Codec[codec],
                "clevel": level,
                "filters": [blosc2.Filter.SHUFFLE],
                "nthreads": 1,
            }
            chunks = (1, *array.shape[1:])
            kinds[f"blosc2 {codec} {level}"] = (
                lambda p, s=settings, c=chunks: blosc2.asarray(array, urlpath=str(p), mode="w", cparams=s, chunks=c),
                lambda p, a, b: blosc2.open(str(p), mode="r", mmap_mode="r", dparams={"nthreads": 1})[a:b],
            )
    except ImportError:
        pass
    try:
        import zarr

        for level in (1, 5):
            codec = zarr.codecs.BloscCodec(cname="zstd", clevel=level, shuffle="shuffle", typesize=4)
            kinds[f"zarr zstd {level}"] = (
                lambda p, c=codec: zarr.create_array(
                    str(p), data=array, chunks=(1, *array.shape[1:]), compressors=c, overwrite=True
                ),
                lambda p, a, b: zarr.open_array(str(p), mode="r")[a:b],
            )
    except ImportError:
        pass
    for number, (name, (write, read)) in enumerate(kinds.items()):
        path = folder / (f"{number}.npy" if name == "npy" else f"{number}.b2nd" if "blosc2" in name else str(number))
        start = time.process_time()
        write(path)
        found = {"write_s": time.process_time() - start}
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        found["share"] = sum(one.stat().st_size for one in files) / array.nbytes
        for count in (3, 8):
            places = np.random.default_rng(1).integers(0, slices - count, 30).tolist()
            read(path, 0, count)
            start = time.process_time()
            for place in places:
                read(path, place, place + count)
            found[f"read_{count}_ms"] = 1e3 * (time.process_time() - start) / len(places)
        yield name, {key: round(value, 3) for key, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=40)
    parser.add_argument("--links", type=int, default=50)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--cache", nargs="+", default=["memory", "disk", "disk_raw"])
    parser.add_argument("--formats", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; a temporary folder by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        items = json.loads(Path(arguments.one[0]).read_text(encoding="utf-8"))
        print(json.dumps(train(items, arguments.one[1], str(Path(arguments.one[0]).parent / arguments.one[1]))))
        return
    report: dict[str, Any] = {
        **machine(torch.device("cpu")),
        "volume": [arguments.size, arguments.size, arguments.slices],
    }
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.formats:
            torch.set_num_threads(1)
            report["formats"] = {}
            for kind, figures in formats(arguments.size, arguments.slices, folder):
                report["formats"][kind] = figures
                print(kind, figures, flush=True)
            write_json(arguments.results / "disk_formats.json", report)
            return
        items = make_datalist(folder, arguments.volumes, arguments.links, arguments.size, arguments.slices)
        report["files_mb"] = sum(one.stat().st_size for one in folder.glob("[il]*.nii.gz")) / 2**20
        for cache in arguments.cache:
            few = [item for item in items if item["subject"].endswith("_0")][:IN_MEMORY]
            (folder / "items.json").write_text(json.dumps(few if cache == "memory" else items), encoding="utf-8")
            words = [sys.executable, "-m", "benchmarks.speed.large_data", "--one", str(folder / "items.json"), cache]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            found = json.loads(done.stdout.splitlines()[-1])
            if cache == "memory":
                found["gb_for_all_subjects"] = found["mb_of_volumes"] / len(few) * len(items) / 1024
            else:
                kept = [path.stat().st_size for path in (folder / cache).rglob("*") if path.is_file()]
                found["cache_mb"] = sum(kept) / 2**20
                shutil.rmtree(folder / cache)
            report[cache] = found
            print(cache, json.dumps(found), flush=True)
            write_json(arguments.results / "large_data.json", report)


if __name__ == "__main__":
    main()
