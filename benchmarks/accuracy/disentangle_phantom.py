# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Anatomy apart from contrast, on brains with four MR sequences and a PET, some sequences missing in training.

    python -m benchmarks.accuracy.disentangle_phantom --work runs/disentangle_phantom

Stages, each a bundle with an overlay on ``demo.json``:

* ``redraw`` (``bundles/disentangle``): the four variants of the paper's table, Conv+NA, Conv+Adv, Conv+Sim and
  CondConv+Sim. PSNR and SSIM of each sequence reconstructed with the anatomy of each other one, and without its
  image at all, beside predictors without a network; silhouettes of codes and anatomies.
* ``tumour`` (``bundles/disentangle_tumour``) and ``pet`` (``bundles/disentangle_pet``): Standard+Zero, Standard+Average
  and Ours, which reads the frozen encoders of CondConv+Sim of the same seed, all trained on subjects that have every
  sequence, as in the paper. Tumours, all parts of them as one label, are scored with all sequences and with each one
  missing, PET with every subset.
* ``tumour_incomplete`` and ``pet_incomplete``: the same, trained on subjects of whom some lack sequences, as the first
  stage always is. A standard network then has seen zeros (or means) in training.

Test subjects have all sequences. Numbers of steps are those of ``demo.json``, which is far from converged; for more:
``--set max_epochs=40``, with a ``--work`` and ``--results`` of their own. The demo settings were looked at on phantom
seed 0, the learning rate of the tumour networks on the training subjects of this phantom too. That an older rate
learned little was seen on its test subjects; no setting was chosen by their scores.

``benchmarks/results/disentangle_phantom_longer`` is two commands, both with ``--seeds 0 1`` and folders of its own:
``--stages redraw --only condconv_sim --set max_epochs=40``, then ``--stages tumour pet --only ours``.

Cells run some at a time on one core each; a cell that was finished is not run again, one that was cut off goes on at
its last epoch. Results: one JSON a cell, ``summary.json``, ``summary.md`` and pictures in
``benchmarks/results/disentangle_phantom``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from benchmarks.accuracy.disentangle_summary import draw, markdown, summarise
from benchmarks.accuracy.redraw_baselines import COPY, MEAN, baselines
from benchmarks.accuracy.unpaired_cells import parameters
from benchmarks.cells import finished, in_lanes, overrides_of, read_json, study_parser, write_json, write_summary
from benchmarks.runs import Run, run_bundle
from monai_mmseg.evaluation import OTHERS, ScoreTable, is_cross, subset_names
from monai_mmseg.phantom import make_brain_phantom

PHANTOM_SEED = 51
PHANTOM = {"subjects": 26, "test_subjects": 8, "folds": 6, "missing": 0.2, "size": 54, "pet": True}
MODALITIES = ("t1", "t1gd", "t2", "flair")
ENCODER = "condconv_sim"  # the variant whose encoders the downstream networks read
OURS = "ours"  # a downstream bundle without an overlay


class Stage(NamedTuple):
    """One bundle, the settings that are compared, and what its evaluation leaves."""

    bundle: str
    settings: tuple[str, ...]  # overlays, and OURS
    done: str
    evaluating: Mapping[str, Any] = MappingProxyType({})
    overrides: Mapping[str, Any] = MappingProxyType({})
    data: str = "phantom"


FILLED = ("standard_zero", "standard_average", OURS)
EACH_MISSING = {"tested_subsets": [list(MODALITIES), *([m for m in MODALITIES if m != gone] for gone in MODALITIES)]}
WHOLE = {
    "labels": {"0": "background", "1": "tumour"},
    "class_weights": [1.0, 1.0],
    "max_epochs": 24,
    "val_interval": 2,
    "final_model": "last.pt",  # the best in validation is scored, not the last
}
WHOLE_INCOMPLETE = {**WHOLE, "final_model": "model.pt"}  # a validation fold that lacks sequences chooses badly
STAGES = {
    "redraw": Stage("disentangle", ("conv_na", "conv_adv", "conv_sim", "condconv_sim"), "reconstruction.json"),
    "tumour": Stage("disentangle_tumour", FILLED, "subsets.json", EACH_MISSING, WHOLE, "complete_whole"),
    "tumour_incomplete": Stage(
        "disentangle_tumour", FILLED, "subsets.json", EACH_MISSING, WHOLE_INCOMPLETE, "phantom_whole"
    ),
    "pet": Stage("disentangle_pet", FILLED, "subsets.json", data="complete"),
    "pet_incomplete": Stage("disentangle_pet", FILLED, "subsets.json"),
}


class Cell(NamedTuple):
    """One training and its evaluation."""

    stage: str
    setting: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.stage}_{self.setting}_seed{self.seed}"


def cells(stages: Sequence[str], seeds: Sequence[int], only: Sequence[str] = ()) -> list[Cell]:
    """All cells, seed by seed so that a cut leaves whole seeds; encoders come before what reads them."""
    return [
        Cell(stage, setting, seed)
        for seed in seeds
        for stage in STAGES
        if stage in stages
        for setting in STAGES[stage].settings
        if not only or setting in only
    ]


def run_cell(cell: Cell, work: Path, results: Path, overrides: Mapping[str, Any]) -> None:
    """Train and evaluate one cell, and write its JSON."""
    target = results / f"{cell.name}.json"
    if target.is_file():
        return
    stage, folder = STAGES[cell.stage], work / cell.name
    own: dict[str, Any] = {"seed": cell.seed, **stage.overrides}
    read: dict[str, str] = {}
    if cell.stage != "redraw":
        encoder = work / Cell("redraw", ENCODER, cell.seed).name / "models" / "model.pt"
        if cell.setting == OURS:
            if not encoder.is_file():
                raise FileNotFoundError(f"{cell.name} needs the encoders of {ENCODER}: {encoder} is not there.")
            own["stage_one"] = str(encoder.resolve())
            read = {"stage_one": encoder.parent.parent.name}  # by its cell, in the JSON
    overlays = ("demo",) if cell.setting in (OURS, ENCODER) else ("demo", f"settings/{cell.setting}")
    run = Run(cell.setting, overlays, own)
    seconds = run_bundle(
        run,
        folder,
        work / stage.data,
        done=stage.done,
        bundle=stage.bundle,
        overrides=overrides,
        evaluating=stage.evaluating,
    )
    found = reconstructed(folder) if cell.stage == "redraw" else by_subset(folder)
    about = {
        "overrides": {**own, **read, **overrides},
        "seconds": seconds,
        "parameters": parameters(stage.bundle, overlays),
    }
    write_json(target, {**cell._asdict(), **about, **found})
    (folder / "models" / "resume.pt").unlink(missing_ok=True)  # it went on to the end
    print(f"{cell.name}: {seconds:.0f} s", flush=True)


def write_whole(data: Path, folder: Path) -> None:
    """The phantom with one label, all of the tumour: its parts take longer to learn than these networks are trained."""
    if (folder / "datalist.json").is_file():
        return
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    content = read_json(data / "datalist.json")
    for item in (*content["training"], *content["test"]):
        if "label" in item:
            path = folder / "labels" / Path(item["label"]).name
            label: Any = nib.load(data / item["label"])
            nib.save(nib.Nifti1Image((np.asarray(label.dataobj) > 0).astype(np.uint8), label.affine), path)
            item["label"] = f"labels/{path.name}"
        item["image"] = os.path.relpath(data / item["image"], folder)
    write_json(folder / "datalist.json", {**content, "labels": {"0": "background", "1": "tumour"}})


def reconstructed(folder: Path) -> dict[str, Any]:
    """Per target and subject PSNR and SSIM, made from each other sequence and from all others; silhouettes."""
    table = ScoreTable.from_json(folder / "reconstruction.json")
    (method,) = table.methods
    latent = folder / "disentanglement.json"
    silhouettes = read_json(latent).get("silhouettes", {}) if latent.is_file() else {}
    return {**by_target(table, method, method), "silhouettes": silhouettes}


def trivial_scores(data: Path) -> dict[str, Any]:
    """The same of predictors without a network: another sequence for ``cross``, the mean image for ``others``."""
    return by_target(baselines(data, ("demo",), {}), COPY, MEAN)


def by_target(table: ScoreTable, cross: str, others: str) -> dict[str, Any]:
    """Per target, measure and subject: the mean over sources of one method, and what another makes of all others."""
    without = {}
    targets = table.cases("target")
    for target in targets:
        part = table.select(method=others, source=OTHERS, target=target)
        if len(part):
            without[target] = {measure: part.per_subject(measure) for measure in ("psnr", "ssim")}
    measures = ("psnr", "ssim", "original_psnr", "original_ssim")
    part = table.select(is_cross, method=cross)
    means = {target: {measure: part.per_subject(measure, target=target) for measure in measures} for target in targets}
    return {"cross": means, "others": without}


def by_subset(folder: Path) -> dict[str, Any]:
    """Scores of every subset and subject."""
    table = ScoreTable.from_json(folder / "subsets.json")
    (info,) = table.methods.values()
    rows = []
    for subset, subject in dict.fromkeys((score.case["subset"], score.subject) for score in table):
        part = table.select(subset=subset, subject=subject)
        measures = {
            m: part.per_subject(m)[subject] for m in part.measures if m in ("dice", "hausdorff95", "psnr", "ssim")
        }
        if len(classes := part.cases("class")) > 1:
            measures |= {f"dice/{name}": part.per_subject("dice", **{"class": name})[subject] for name in classes}
        rows.append({"subset": list(subset_names(subset)), "subject": subject, "measures": measures})
    return {"modalities": list(info.modalities), "rows": rows}


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing and write the summary."""
    parser = study_parser(__doc__, "disentangle_phantom", phantom_seed=PHANTOM_SEED)
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--only", nargs="+", default=[], help="only these settings")
    parser.add_argument("--phantom", action="append", default=[], metavar="NAME=JSON", help="of the phantom")
    arguments = parser.parse_args(words)
    overrides = overrides_of(arguments.set)
    phantom: dict[str, Any] = {**PHANTOM, **overrides_of(arguments.phantom)}
    make_brain_phantom(arguments.work / "phantom", seed=arguments.phantom_seed, **phantom)
    make_brain_phantom(arguments.work / "complete", seed=arguments.phantom_seed, **{**phantom, "missing": 0.0})
    for data in ("phantom", "complete"):
        write_whole(arguments.work / data, arguments.work / f"{data}_whole")
    for stage in STAGES:  # one after the other: the first one's encoders are read by the others
        chosen = [cell for cell in cells(arguments.stages, arguments.seeds, arguments.only) if cell.stage == stage]
        in_lanes(run_cell, [(cell, arguments.work, arguments.results, overrides) for cell in chosen], arguments.lanes)
    path = arguments.results / "baselines.json"
    if not path.is_file():
        write_json(path, trivial_scores(arguments.work / "phantom"))
    found = finished(arguments.results)
    summary = {"phantom_seed": arguments.phantom_seed, **summarise(found, read_json(path))}
    draw(found, arguments.results)
    write_summary(arguments.results, summary, markdown(summary))


if __name__ == "__main__":
    main()
