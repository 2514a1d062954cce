# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Subjects a minute and memory of importing CHAOS, with one and with two workers.

    python -m benchmarks.speed.prepare [--subjects 20] [--workers 1 2] [--out benchmarks/results/prepare.json]

Writes the twenty patients of CHAOS with synthetic slices in the official layout (256 x 256 DICOM slices of both phases
of T1 and of T2-SPIR, pictures of their labels), as many slices as the pairs of the paper need, and imports them as a
user does, without the contact sheet. Memory is the peak of the largest process, CPU time that of all processes; both
are looked up in /proc, so that this needs Linux.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.utils import optional_import
from numpy.typing import NDArray

from benchmarks import RESULTS
from benchmarks.timing import machine
from monai_mmseg.files import write_json

SIZE, SPACING = 256, (1.62, 1.62, 6.0)
PATIENTS = (1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39)
SLICES = dict.fromkeys(PATIENTS, (40, 32)) | {33: (36, 32), 37: (34, 36)}  # of T1 and of T2
GREY = np.array([0, 63, 126, 189, 252], np.uint8)


def abdomen(slices: int, seed: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Slices ``(Z, Y, X)`` of 12 bit with noise, and the classes of four round organs."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[-1 : 1 : slices * 1j, -1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    classes = np.zeros((slices, SIZE, SIZE), np.uint8)
    for value, (center_y, center_x, radius) in enumerate(
        ((-0.2, -0.35, 0.35), (0.3, -0.3, 0.12), (0.3, 0.3, 0.12), (-0.1, 0.5, 0.15)), start=1
    ):
        classes[((y - center_y) ** 2 + (x - center_x) ** 2) / radius**2 + z**2 < 0.8] = value
    body = (x / 0.85) ** 2 + (y / 0.6) ** 2 < 1
    image = rng.rayleigh(15, classes.shape) + body * (200 + 150.0 * classes)
    return image.astype(np.uint16), classes


def write_series(folder: Path, volume: NDArray[np.uint16], name: str, uid: str) -> None:
    """Write slices, from the head down, as the files of one DICOM series."""
    pydicom, _ = optional_import("pydicom")
    uids, _ = optional_import("pydicom.uid")
    folder.mkdir(parents=True)
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = uids.MRImageStorage
    one.PatientID, one.Modality, one.SeriesDescription = "anonymous", "MR", name
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1", uid
    one.ImageOrientationPatient, one.PixelSpacing, one.SliceThickness = (
        [1, 0, 0, 0, 1, 0],
        list(SPACING[:2]),
        SPACING[2],
    )
    one.Rows = one.Columns = SIZE
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    for number, pixels in enumerate(volume, start=1):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
        one.InstanceNumber = number
        one.ImagePositionPatient = [-200, -200, -SPACING[2] * number]
        one.PixelData = pixels.tobytes()
        one.save_as(folder / f"{name}-{number:05d}.dcm", enforce_file_format=True)


def write_chaos(folder: Path, patients: Sequence[int]) -> None:
    """Write the official layout."""
    for patient in patients:
        sequences = ("T1DUAL", ("InPhase", "OutPhase")), ("T2SPIR", ("",))
        for (sequence, phases), slices in zip(sequences, SLICES[patient], strict=True):
            here = folder / "Train_Sets" / "MR" / str(patient) / sequence
            name = f"IMG-{patient:04d}"
            for place, phase in enumerate(phases):
                image, classes = abdomen(slices, seed=10 * patient + place)
                uid = f"1.2.826.0.1.3680043.8.498.{patient}.{len(phases)}.{place + 1}"
                write_series(here / "DICOM_anon" / phase, image, name, uid)
            (here / "Ground").mkdir()
            for number, picture in enumerate(GREY[classes], start=1):
                sitk.WriteImage(sitk.GetImageFromArray(picture), str(here / "Ground" / f"{name}-{number:05d}.png"))


def processes_of(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            yield from processes_of(int(child))


def look(process: int, seconds: dict[int, float], peaks: dict[int, float]) -> None:
    """Note CPU seconds and largest memory, in MB, of a process and all below it."""
    with suppress(OSError):  # of one that ends meanwhile
        for one in processes_of(process):
            times = Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
            seconds[one] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            status = Path(f"/proc/{one}/status").read_text(encoding="utf-8")
            if peak := re.search(r"VmHWM:\s*(\d+)", status):
                peaks[one] = int(peak[1]) / 1024


def run_import(source: Path, out: Path, workers: int) -> dict[str, Any]:
    """Import as a user does, and what it took."""
    words = ["data", "import", "chaos", str(source), "--out", str(out), "--workers", str(workers), "--no-sheet"]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    seconds: dict[int, float] = {}
    peaks: dict[int, float] = {}
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "monai_mmseg", *words], env=environment) as process:
        while process.poll() is None:
            look(process.pid, seconds, peaks)
            time.sleep(0.05)
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"the import with {workers} workers ended with {process.returncode}.")
    return {
        "seconds": round(wall, 1),
        "cpu_seconds": round(sum(seconds.values()), 1),
        "largest_process_mb": round(max(peaks.values())),
    }


def main() -> None:
    """Write, import and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=len(PATIENTS))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS / "prepare.json")
    arguments = parser.parse_args()
    patients = PATIENTS[: arguments.subjects]
    found: dict[str, Any] = {**machine(torch.device("cpu")), "subjects": len(patients), "workers": {}}
    with tempfile.TemporaryDirectory() as folder:
        write_chaos(Path(folder) / "CHAOS", patients)
        for workers in arguments.workers:
            took = run_import(Path(folder) / "CHAOS", Path(folder) / f"data_{workers}", workers)
            took["subjects_a_minute"] = round(60 * len(patients) / took["seconds"], 1)
            found["workers"][str(workers)] = took
            print(workers, took, flush=True)
    write_json(arguments.out, found)


if __name__ == "__main__":
    main()
