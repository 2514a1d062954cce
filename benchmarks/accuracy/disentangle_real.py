# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Real MR sequences reconstructed from each other in a person that training did not see, beside trivial predictors.

    python -m benchmarks.accuracy.disentangle_real --work runs/disentangle_real

Trained on slices of four people: a brain tumour with four sequences, multiple sclerosis with four, a stroke with three
and another multiple sclerosis with three, as scanned: each on its own grid, skull and all. The validation volume, by
which the weights are chosen, is the first person at 2 mm. Tested on one further person with multiple sclerosis, from
another sequence each or from all others. Beside it:

* ``mean image``: the mean of that sequence over the brains that were trained on, stretched to the box of the test's;
* ``best other``: the best single other sequence of the test person after its histogram was matched to that of the true
  image, which no predictor could know.

One person says whether it works on real contrasts, not how well. The network is that of ``demo.json`` with slices of
2 mm. The images are read from ``MMSEG_REAL_DATA`` (default ``../shared/real_data``). A training that was finished is
not run again. Results: ``benchmarks/results/disentangle_real.json``, ``.md`` and a picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from benchmarks import RESULTS
from benchmarks.accuracy.redraw_baselines import COPY, MEAN, read_stacks, trivial
from benchmarks.real_images import real_data
from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.data import read_datalist
from monai_mmseg.evaluation import OTHERS, Score, ScoreTable, is_cross
from monai_mmseg.evaluation.layout import Sheet
from monai_mmseg.files import write_json
from monai_mmseg.study.cells import Cell
from monai_mmseg.study.facts import find_facts
from monai_mmseg.study.methods import find_method
from monai_mmseg.study.plans import Training
from monai_mmseg.study.trained import run_bundle_cell

MODALITIES = ("t1", "t1gd", "t2", "flair")
FILES = {"t1": "t1", "t1gd": "t1ce", "t2": "t2", "flair": "flair"}
OVERLAYS = ("demo",)
SETTINGS: dict[str, Any] = {
    "modalities": list(MODALITIES),
    "pixdim": [2.0, 2.0, 2.0],
    "spatial_size": [96, 96],
    "batch_size": 4,
    "max_epochs": 12,
    "epoch_length": 40,
    "val_interval": 4,
}
AIR = 0.05  # of the 99th percentile: what is darker in an image with its skull is air


class Person(NamedTuple):
    """One folder of the real data and its part."""

    folder: str
    section: str = "training"
    fold: int = 1
    air: bool = False  # take the noise around the head away


PEOPLE = {
    "tumour": Person("brain_tumour_tcga/TCGA-FG-6692"),
    "tumour_2mm": Person("brain_tumour_tcga/TCGA-FG-6692_2mm", fold=0),
    "ms19": Person("brain_ms/patient19"),
    "stroke": Person("brain_stroke/C-STAR"),
    "ms01_raw": Person("brain_ms_raw/patient01", air=True),
    "ms07": Person("brain_ms/patient07_2mm", section="test"),
}


def write_data(folder: Path, people: Mapping[str, Person] = PEOPLE) -> Path:
    """The datalist, and images without noise around the head."""
    content: dict[str, Any] = {"name": "real brains", "modalities": list(MODALITIES), "labels": {}}
    content |= {"training": [], "test": []}
    for subject, person in people.items():
        for modality, stem in FILES.items():
            source = real_data() / person.folder / f"{stem}.nii.gz"
            if not source.is_file():
                continue
            path = folder / f"{subject}_{modality}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            image: Any = nib.load(source)
            values = np.asarray(image.dataobj, dtype=np.float32)
            floor = AIR * np.percentile(values, 99) if person.air else 0.0
            nib.save(nib.Nifti1Image(np.where(values > floor, values, 0), image.affine), path)
            item = {"image": path.name, "modality": modality, "subject": subject}
            content[person.section].append({**item, **({"fold": person.fold} if person.section == "training" else {})})
    write_json(folder / "datalist.json", content)
    return folder


def compare(ours: ScoreTable, other: ScoreTable) -> dict[str, Any]:
    """Each target: PSNR and SSIM of ours (from each other sequence, from all others) and of the trivial predictors."""
    found: dict[str, Any] = {}
    for target in ours.cases("target"):
        cross, copies, means = (
            ours.select(is_cross, target=target),
            other.select(method=COPY),
            other.select(method=MEAN),
        )
        chosen = {
            "all others": next(iter(ours.select(source=OTHERS, target=target)), None),
            "best pair": max(cross, key=_psnr),
            "mean image": next(iter(means.select(target=target))),
            "best other": max(copies.select(target=target), key=_psnr),
        }
        found[target] = {
            name: None if one is None else {**_numbers(one), "source": one.case["source"]}
            for name, one in chosen.items()
        }
        found[target]["each pair"] = {one.case["source"]: _numbers(one) for one in cross}
        found[target]["mean of pairs"] = {
            measure: float(np.mean([one.values[measure] for one in cross])) for measure in ("psnr", "ssim")
        }
    return found


def _psnr(score: Score) -> float:
    return score.values["psnr"]


def _numbers(score: Score) -> dict[str, float]:
    return {measure: score.values[measure] for measure in ("psnr", "ssim")}


COLUMNS = {
    "mean of pairs": "ours, mean over the others",
    "best pair": "ours, from the best other",
    "all others": "ours, from all others",
    "mean image": "mean image",
    "best other": "best other, matched",
}


def markdown(result: Mapping[str, Any]) -> str:
    """One table."""
    about = f"{result['subject']}, not seen in training; PSNR [dB] / SSIM inside of the brain."
    rows = [f"{about} {result['seconds']:.0f} s of training and evaluation.", ""]
    body = []
    for target, found in result["targets"].items():
        cells = [target]
        for name in COLUMNS:
            one = found[name]
            source = f" ({one['source']})" if one and name in ("best pair", "best other") else ""
            cells.append("–" if one is None else f"{one['psnr']:.2f} / {one['ssim']:.3f}{source}")
        body.append(cells)
    return "\n".join([*rows, *Sheet("", ["reconstructed"], list(COLUMNS.values()), body).markdown()])


def picture(run_dir: Path, path: Path) -> None:
    """The panel of the run as a small picture."""
    from PIL import Image

    with Image.open(run_dir / "figures" / "cross_reconstruction.png") as image:
        image.convert("RGB").save(path, quality=70, optimize=True)


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/disentangle_real"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="ID=JSON", help="override of the bundle")
    arguments = parser.parse_args(words)
    overrides = {**SETTINGS, **{key: json.loads(value) for key, value in (one.split("=", 1) for one in arguments.set)}}
    data, folder = write_data(arguments.work / "data"), arguments.work / "run"
    method = find_method("disentangle_redraw")
    training = Training("", bundles_folder() / method.bundle, OVERLAYS, overrides)
    facts = find_facts(read_datalist(data / "datalist.json"))
    cell = Cell(method.name, "all", 0, 0)
    given: dict[str, Any] = {"evaluating": {}, "paper_dice": False, "threads": arguments.threads}
    found = run_bundle_cell(method, [training], cell, folder, data, facts, **given)
    seconds, ours = found.seconds["training"] + found.seconds["evaluating"], found.table
    people = read_stacks(data, "training", OVERLAYS, overrides)
    # the first person again, and one whose box is that of a head
    people = {name: one for name, one in people.items() if PEOPLE[name].fold and not PEOPLE[name].air}
    ((subject, test),) = read_stacks(data, "test", OVERLAYS, overrides).items()
    other = trivial(test, list(people.values()), subject)
    result = {"subject": subject, "people": list(people), "overrides": overrides, "seconds": seconds}
    result["targets"] = compare(ours, other)
    path = arguments.results / "disentangle_real.json"
    write_json(path, result)
    path.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    picture(folder, path.with_suffix(".jpg"))
    print(markdown(result))


if __name__ == "__main__":
    main()
