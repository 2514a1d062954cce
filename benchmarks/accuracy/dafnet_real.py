# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DAFNet on real images without one label of the target modality, beside baselines on the same slices.

    python -m benchmarks.accuracy.dafnet_real --work runs/dafnet_real

* ``brain``: the MNI average brain, T1 labelled, T2 not; CSF, grey and white matter.
* ``cord``: a cervical spinal cord, T1w labelled, T2*w not.

Each is a single registered volume, so axial slabs of it stand in for subjects: some are trained on, others are held
out, with slices between them that nobody uses. This shows that the bundle handles real files and carries labels
across contrasts; with one volume it cannot show that a network generalises to other people. References say how much is
trivial: ``copy`` (the test slice's own source mask, perfect because the volumes are registered), ``nearest_slice`` (the
mask of the nearest training slice, which looks at no image at all), and what moves the copied masks by looking at the
images: ``register`` and ``active_contour``. As on registered volumes these can only lose, they are scored once more
with the target moved by some millimetres, which its header does not tell: labels of the source then lie beside it.

The images are read from ``MMSEG_REAL_DATA`` (default ``../shared/real_data``). Trainings that were finished are not run
again; ``--baselines`` trains nothing and keeps the rows of networks that the results have. Results:
``benchmarks/results/dafnet_real.json``, ``.md`` and pictures of each data set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from benchmarks.cells import read_json, write_json
from benchmarks.runs import ROOT, Run, command, train_and_evaluate
from monai_mmseg.baselines import active_contour_baseline, copy_baseline, register_baseline
from monai_mmseg.data import load_datalist
from monai_mmseg.evaluation import ScoreTable, evaluate_predictions
from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.visualize import read_for_display

RESULTS = ROOT / "benchmarks" / "results"


class Study(NamedTuple):
    """One volume in two contrasts and what is done with it."""

    folder: str  # below the real data
    source: str
    target: str
    source_label: str
    target_label: str
    labels: Mapping[str, str]
    train: Sequence[tuple[int, int]]  # slabs of axial slices: first, one past the last
    validation: Sequence[tuple[int, int]]
    test: Sequence[tuple[int, int]]
    overrides: Mapping[str, Any]


STUDIES = {
    "brain": Study(
        folder="brain_template/avg152",
        source="t1",
        target="t2",
        source_label="seg",
        target_label="seg",
        labels={"0": "background", "1": "CSF", "2": "grey matter", "3": "white matter"},
        train=[(12, 20), (28, 36), (44, 52), (60, 66)],
        validation=[(66, 68)],
        test=[(22, 26), (38, 42), (54, 58), (70, 73)],
        overrides={"spatial_size": [96, 80], "pixdim": [2.0, 2.0], "max_epochs": 15},
    ),
    "cord": Study(
        folder="spinal_cord_mr/sub-unf01",
        source="t1",
        target="t2star",
        source_label="t1_seg",
        target_label="t2star_seg",
        labels={"0": "background", "1": "spinal cord"},
        train=[(2, 6), (11, 14), (14, 16)],
        validation=[(0, 2)],
        test=[(7, 8), (8, 9), (9, 10)],
        overrides={"spatial_size": [64, 64], "pixdim": [1.0, 1.0], "max_epochs": 15, "batch_size": 4},
    ),
}
BASELINES: dict[str, Callable[..., dict[str, Path]]] = {
    "copy": copy_baseline,
    "register": register_baseline,
    "active_contour": active_contour_baseline,
}
MOVED_MM = (6.0, -4.0)
"""How far the target's images and labels are moved along the first two axes."""
METHODS = {
    "dafnet_fused": "settings/target_0",
    "unet_source": "settings/unet_source",
    "unet_copied_masks": "settings/unet_copied_masks",
}
NETWORKS = (*METHODS, "dafnet_single")
MEANING = {
    "copy": "source mask of the same slice (needs it at test time; the volumes are registered)",
    "register": "source mask of the same slice, registered by affine and SyN",
    "active_contour": "outlines of the source mask of the same slice, drawn to its edges; copied where they collapse",
    "nearest_slice": "source mask of the nearest training slice; looks at no image",
    "unet_source": "U-Net trained on the source and its labels, applied to the target",
    "unet_copied_masks": "U-Net trained on the target's images with the source's masks",
    "dafnet_fused": "DAFNet, source labels only; reads source and target image of the slice",
    "dafnet_single": "the same DAFNet; reads the target image alone",
}


def real_data() -> Path:
    """Folder of the real images."""
    return Path(os.environ.get("MMSEG_REAL_DATA") or ROOT.parent / "shared" / "real_data")


def write_slabs(study: Study, folder: Path) -> Path:
    """Cut the volumes into slabs that keep their place in the scanner, and write the datalist.

    Target labels of training slabs are not even written: nothing can read them by mistake.
    """
    volumes = {
        stem: nib.load(real_data() / study.folder / f"{stem}.nii.gz")
        for stem in {study.source, study.target, study.source_label, study.target_label}
    }

    def items(slabs: Iterable[tuple[int, int]], fold: int | None) -> list[dict[str, Any]]:
        found = []
        for first, end in slabs:
            subject = f"slices_{first:02d}_{end - 1:02d}"
            (folder / subject).mkdir(parents=True, exist_ok=True)
            for modality, label in ((study.source, study.source_label), (study.target, study.target_label)):
                item: dict[str, Any] = {"image": f"{subject}/{modality}.nii.gz", "modality": modality}
                nib.save(volumes[modality].slicer[:, :, first:end], folder / item["image"])
                if modality == study.source or fold is None:
                    item["label"] = f"{subject}/{modality}_label.nii.gz"
                    nib.save(volumes[label].slicer[:, :, first:end], folder / item["label"])
                found.append({**item, "subject": subject, **({} if fold is None else {"fold": fold})})
        return found

    content = {
        "name": f"slabs of {study.folder}",
        "modalities": [study.source, study.target],
        "labels": study.labels,
        "training": items(study.validation, 0) + items(study.train, 1),
        "test": items(study.test, None),
    }
    path = folder / "datalist.json"
    write_json(path, content)
    return path


def nearest_slices(study: Study, datalist: Path, out: Path) -> dict[str, Path]:
    """Predictions that put the mask of the nearest training slice on every test slice."""
    source: Any = nib.load(real_data() / study.folder / f"{study.source_label}.nii.gz")
    values = np.asanyarray(source.dataobj)
    known = np.array([z for first, end in study.train for z in range(first, end)])
    out.mkdir(parents=True, exist_ok=True)
    written = {}
    for first, end in study.test:
        nearest = [int(known[np.abs(known - z).argmin()]) for z in range(first, end)]
        subject = f"slices_{first:02d}_{end - 1:02d}"
        image: Any = nib.load(datalist.parent / subject / f"{study.target}.nii.gz")
        written[subject] = out / f"{subject}.nii.gz"
        nib.save(nib.Nifti1Image(values[:, :, nearest].astype(np.uint8), image.affine), written[subject])
    return written


def move_target(study: Study, folder: Path) -> None:
    """Shift the target's images and labels in the scanner, as of a patient who moved."""
    for path in folder.glob(f"*/{study.target}*.nii.gz"):
        volume: Any = nib.load(path)
        values, affine = np.asanyarray(volume.dataobj).copy(), volume.affine.copy()
        affine[:2, 3] += MOVED_MM
        nib.save(nib.Nifti1Image(values, affine), path)


def run_baselines(study: Study, datalist: Path, work: Path) -> dict[str, dict[str, float]]:
    """Dice of what needs no training."""
    items = load_datalist(datalist, "test")
    return {
        name: score(study, datalist, baseline(items, study.source, study.target, work / name, overwrite=True))
        for name, baseline in BASELINES.items()
    }


def overrides_of(study: Study) -> dict[str, Any]:
    """What the bundle is told about these data."""
    return {
        "modalities": [study.source, study.target],
        "target": study.target,
        "labels": study.labels,
        "slice_axis": "axial",  # of isotropic voxels, spacing does not tell
        **study.overrides,
    }


def evaluate_single(study: Study, trained: Path, datalist: Path) -> ScoreTable:
    """Scores of a trained DAFNet that reads the target image alone."""
    folder = trained.with_name("dafnet_single")
    scores = folder / "metrics" / "dafnet_single.json"
    if not scores.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        configs = ("train", METHODS["dafnet_fused"], "demo", "settings/single_modal_inference", "evaluate")
        places = {"dataset_dir": datalist.parent, "ckpt_dir": trained / "models", "output_dir": folder}
        line = command(
            "dafnet",
            "evaluating",
            configs,
            {**{k: str(v.resolve()) for k, v in places.items()}, "method": "dafnet_single", **overrides_of(study)},
        )
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore", PYTHONPATH=str(ROOT))
        with (folder / "evaluating.log").open("w") as log:
            subprocess.run(line, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)
    return ScoreTable.from_json(scores)


def run_study(study: Study, work: Path, known: Mapping[str, Any], train: bool) -> dict[str, Any]:
    """Score the references, and train and evaluate what is missing, or take what is `known` of the networks."""
    datalist = write_slabs(study, work / "data")
    near = nearest_slices(study, datalist, work / "nearest_slice")
    moved = write_slabs(study, work / "moved" / "data")
    move_target(study, moved.parent)
    references = {**run_baselines(study, datalist, work), "nearest_slice": score(study, datalist, near)}
    networks = run_networks(study, datalist, work) if train else known
    return {
        "source": study.source,
        "target": study.target,
        "training_slices": sum(end - first for first, end in study.train),
        "test_slices": sum(end - first for first, end in study.test),
        "overrides": overrides_of(study),
        "dice": {**references, **{name: networks["dice"][name] for name in NETWORKS}},
        "moved_mm": MOVED_MM,
        "dice_moved": run_baselines(study, moved, work / "moved"),
        "seconds": networks["seconds"],
        "registration": networks["registration"],
    }


def run_networks(study: Study, datalist: Path, work: Path) -> dict[str, Any]:
    """Dice of the networks, trained where that is missing, and the seconds of each."""
    found, seconds = {}, {}
    for name, overlay in METHODS.items():
        run = Run(name, (overlay, "demo"))
        result = train_and_evaluate(run, work / name, datalist.parent, overrides=overrides_of(study), echo=print)
        found[name], seconds[name] = dice(study, result.table), result.seconds
    found["dafnet_single"] = dice(study, evaluate_single(study, work / "dafnet_fused", datalist))
    about = read_json(work / "dafnet_fused" / "disentanglement.json")
    return {"dice": found, "seconds": seconds, "registration": about.get("registration")}


def score(study: Study, datalist: Path, predictions: Mapping[str, Path]) -> dict[str, float]:
    """Dice of label volumes of the test slabs."""
    return dice(study, evaluate_predictions(datalist, predictions, modality=study.target, section="test"))


def dice(study: Study, table: ScoreTable) -> dict[str, float]:
    """Mean Dice of every class over the held-out slabs, and their mean."""
    found = {line.case["class"]: line.measures["dice"].mean for line in table.means("class")}
    return {**found, "mean": float(np.mean(list(found.values())))}


def markdown(results: Mapping[str, Any]) -> str:
    """One table a data set."""
    rows = []
    for name, one in results.items():
        classes = list(one["dice"]["copy"])
        about = f"{name}: {one['source']} labelled, {one['target']} not; {one['training_slices']} slices trained on. "
        rows += [
            about + f"Mean Dice on {one['test_slices']} held-out axial slices of {one['target']}:",
            "",
            f"| method | {' | '.join(classes)} | mean, target moved | what it is |",
            f"| --- |{' ---: |' * (len(classes) + 1)} --- |",
        ]
        for method, found in one["dice"].items():
            moved = one.get("dice_moved", {}).get(method)
            cells = [f"{found[c]:.3f}" for c in classes] + ["" if moved is None else f"{moved['mean']:.3f}"]
            rows.append(f"| {method} | {' | '.join(cells)} | {MEANING[method]} |")
        rows.append("")
    return "\n".join(rows)


def draw(study: Study, work: Path, names: Sequence[str], path: Path) -> None:
    """The middle slice of two held-out slabs: source, target with its label, and every method's segmentation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    items = [i for i in load_datalist(work / "data" / "datalist.json", "test") if i["modality"] == study.target]
    shown = [items[0], items[len(items) // 2]]
    figure, axes = plt.subplots(
        len(shown), 3 + len(names), figsize=(2.1 * (3 + len(names)), 2.6 * len(shown)), layout="constrained"
    )
    for row, item in zip(axes, shown, strict=True):
        source_file = Path(item["image"]).with_name(f"{study.source}.nii.gz")
        source, target = (read_for_display(file).values for file in (source_file, item["image"]))
        label = read_for_display(item["label"]).values
        at = target.shape[2] // 2
        inside = np.argwhere(label[:, :, at] > 0)
        low, high = inside.min(0) - 10, inside.max(0) + 11
        window = tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))
        maps = {f"{study.source} image": None, f"{study.target} image": None, "label": label}
        for name in names:
            found = work / name / "predictions" if name in NETWORKS else work / name
            maps[name] = read_for_display(find_prediction(found, item)).values
        for axis, (title, overlay) in zip(row, maps.items(), strict=True):
            image = (source if title == f"{study.source} image" else target)[:, :, at][window]
            axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.5))
            if overlay is not None:
                shape = np.ma.masked_equal(overlay[:, :, at][window], 0)
                axis.imshow(
                    shape, cmap="brg", vmin=1, vmax=max(3, len(study.labels) - 1), alpha=0.55, interpolation="none"
                )
            axis.set_title(title.replace("_", " "), fontsize=9)
            axis.axis("off")
    figure.savefig(path, dpi=72, pil_kwargs={"quality": 85})
    plt.close(figure)


def main() -> None:
    """Run what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/dafnet_real"))
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--baselines", action="store_true", help="train nothing; networks keep their results")
    arguments = parser.parse_args()
    path = RESULTS / "dafnet_real.json"
    results = read_json(path) if path.is_file() else {}
    for name in arguments.studies:
        study, work = STUDIES[name], arguments.work / name
        if arguments.baselines and name not in results:
            parser.error(f"no results of networks for {name}: run it without --baselines first.")
        results[name] = run_study(study, work, results.get(name, {}), not arguments.baselines)
        draw(study, work, list(BASELINES), RESULTS / f"dafnet_real_{name}_baselines.jpg")
        draw(study, work / "moved", list(BASELINES), RESULTS / f"dafnet_real_{name}_moved.jpg")
        if not arguments.baselines:
            draw(study, work, NETWORKS, RESULTS / f"dafnet_real_{name}.jpg")
        write_json(path, results)
        path.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
