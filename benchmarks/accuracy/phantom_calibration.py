# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How hard the heart phantom is: copied masks, and networks trained on cine, on copied and on true LGE labels.

Writes ``benchmarks/results/phantom_calibration.json`` and ``phantom_calibration.jpg``. Run from the repository root::

    python -m benchmarks.accuracy.phantom_calibration --seeds 0 1 --subjects 40

Dice is the mean over LV blood pool and myocardium of one subject's volume, then over subjects. Networks see 64 x 64
pixels of 2.8 mm and are scored there; copying is scored on the native LGE grid. Subjects 1 to 8 train, the others test
(9 to 12 are the test subjects of the default data set).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks import RESULTS
from monai_mmseg.files import write_json
from monai_mmseg.phantom.heart import HeartVolume, make_heart_volume

SIZE, PIXEL = 64, 2.8  # lattice of the networks: pixels and mm
TRAIN, STEPS, BATCH, RATE = 8, 600, 12, 2e-3
CLASSES = (1, 2)  # LV blood pool and myocardium, as in the paper's table of ERI


class Slices(NamedTuple):
    """One volume on the lattice of the networks, slices first."""

    image: Tensor  # (Z, 1, H, W) in [-1, 1]
    label: Tensor  # (Z, H, W)


def copied_label(source: HeartVolume, target: HeartVolume) -> NDArray[np.uint8]:
    """Label of ``source`` at the nearest voxel to each voxel of ``target`` in patient space, 0 outside."""
    to_source = np.linalg.inv(source.grid.affine) @ target.grid.affine
    index = np.stack(np.meshgrid(*[np.arange(n) for n in target.grid.shape], indexing="ij")).reshape(3, -1)
    nearest = np.rint(to_source[:3, :3] @ index + to_source[:3, 3:]).astype(int)
    limit = np.array(source.grid.shape)[:, None]
    inside = ((nearest >= 0) & (nearest < limit)).all(0)
    copied = np.zeros(inside.shape, np.uint8)
    copied[inside] = source.label[tuple(nearest[:, inside])]
    return copied.reshape(target.grid.shape)


def mean_dice(prediction: NDArray[np.integer], label: NDArray[np.integer]) -> float:
    """Mean over the classes of the Dice of one volume."""
    scores = [
        2 * np.sum((prediction == k) & (label == k)) / max(1, np.sum(prediction == k) + np.sum(label == k))
        for k in CLASSES
    ]
    return float(np.mean(scores))


def to_lattice(volume: HeartVolume, label: NDArray[np.uint8]) -> Slices:
    """Resample slices around the middle of the volume and scale them to [-1, 1] by percentiles of each slice."""
    image = torch.from_numpy(volume.image.astype(np.float32)).permute(2, 0, 1)[:, None]
    parts = torch.from_numpy(label).permute(2, 0, 1)[:, None].float()
    axes = [
        (torch.arange(SIZE) - (SIZE - 1) / 2) * PIXEL / volume.grid.spacing[a] * 2 / (volume.grid.shape[a] - 1)
        for a in range(2)
    ]
    i, j = torch.meshgrid(*axes, indexing="ij")
    where = torch.stack([j, i], -1).float().expand(len(image), -1, -1, -1)
    smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    image = F.grid_sample(smooth, where, align_corners=True, padding_mode="border")
    parts = F.grid_sample(parts, where, mode="nearest", align_corners=True)[:, 0].long()
    low, high = torch.quantile(image.flatten(1), torch.tensor([0.005, 0.995]), dim=1).view(2, -1, 1, 1, 1)
    return Slices(((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) * 2 - 1, parts)


def augment(image: Tensor, label: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random rotation (20 degrees), scale (15 %), shift (12 % of the half field) and gamma."""
    rows = len(image)
    angle, size, gamma = (torch.rand(3, rows, generator=generator) * 2 - 1) * torch.tensor([[0.35], [0.15], [0.4]])
    shift = (torch.rand(rows, 2, 1, generator=generator) * 2 - 1) * 0.12
    turn = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).view(-1, 2, 2)
    where = F.affine_grid(
        torch.cat([turn * (1 + size).view(-1, 1, 1), shift], 2), list(image.shape), align_corners=False
    )
    image = F.grid_sample(image, where, align_corners=False, padding_mode="border")
    label = F.grid_sample(label[:, None].float(), where, mode="nearest", align_corners=False).long()
    return ((image + 1) / 2).clamp(0, 1) ** torch.exp(gamma).view(-1, 1, 1, 1) * 2 - 1, label


def train(data: list[Slices], seed: int, steps: int) -> BasicUNet:
    """A small U-Net trained on the slices of some volumes."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.cat([d.image for d in data]), torch.cat([d.label for d in data])
    network = BasicUNet(2, 1, 4, features=(16, 16, 32, 64, 128, 16))
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    loss = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    for _ in range(steps):
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        image, label = augment(images[rows], labels[rows], generator)
        optimizer.zero_grad()
        loss(network(image), label).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def score(network: BasicUNet, data: list[Slices]) -> list[float]:
    """Dice of each volume."""
    return [mean_dice(network(d.image).argmax(1).numpy(), d.label.numpy()) for d in data]


def summary(values: list[float]) -> dict[str, object]:
    """Mean and standard deviation beside the values."""
    return {
        "n": len(values),
        "mean": round(float(np.mean(values)), 4),
        "sd": round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
        "values": [round(v, 4) for v in values],
    }


def calibrate(seed: int, subjects: int, steps: int) -> tuple[dict[str, object], list[dict[str, HeartVolume]]]:
    """All figures of one phantom seed, and the first subjects for the picture."""
    start = time.perf_counter()
    volumes = [{m: make_heart_volume(m, s, seed) for m in ("cine", "lge")} for s in range(1, subjects + 1)]
    seconds = (time.perf_counter() - start) / subjects
    copied = [copied_label(v["cine"], v["lge"]) for v in volumes]
    copy = [mean_dice(c, v["lge"].label) for c, v in zip(copied, volumes, strict=True)]
    cine = [to_lattice(v["cine"], v["cine"].label) for v in volumes]
    lge = [to_lattice(v["lge"], v["lge"].label) for v in volumes]
    noisy = [to_lattice(v["lge"], c) for v, c in zip(volumes, copied, strict=True)]
    result: dict[str, object] = {
        "seconds_per_subject": round(seconds, 3),
        "scar_subjects": sum(v["lge"].shape.scar is not None for v in volumes),
        "copy_all_subjects": summary(copy),
        "copy_default_test_subjects": summary(copy[TRAIN:12]),
        "copy_test_subjects": summary(copy[TRAIN:]),
    }
    if steps:
        on_cine, on_copied, on_lge = (train(d[:TRAIN], seed, steps) for d in (cine, noisy, lge))
        result["cine_network_on_cine"] = summary(score(on_cine, cine[TRAIN:]))
        result["cine_network_on_lge"] = summary(score(on_cine, lge[TRAIN:]))
        result["copied_mask_network_on_lge"] = summary(score(on_copied, lge[TRAIN:]))
        result["lge_network_on_lge"] = summary(score(on_lge, lge[TRAIN:]))
    return result, volumes[:3]


def picture(volumes: list[dict[str, HeartVolume]], path: Path) -> None:
    """Base, middle and apex of both modalities with the true contours, the copied LV in yellow."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    levels = (0.2, 0.5, 0.8)
    figure, axes = plt.subplots(len(volumes), 6, figsize=(12, 2.2 * len(volumes)), squeeze=False)
    for row, subject in zip(axes, volumes, strict=True):
        for c, (name, level) in enumerate((m, f) for m in ("cine", "lge") for f in levels):
            volume = subject[name]
            k = int(level * volume.image.shape[2])
            half = [round(75 / s) for s in volume.grid.spacing[:2]]
            middle = [n // 2 for n in volume.image.shape[:2]]
            crop = (*(slice(m - h, m + h) for m, h in zip(middle, half, strict=True)), k)
            image, label = volume.image[crop].T, volume.label[crop].T
            row[c].imshow(image, cmap="gray", origin="lower", vmax=np.percentile(image, 99.5))
            for value, colour in ((1, "tab:red"), (2, "tab:green"), (3, "tab:cyan")):
                if (label == value).any():
                    row[c].contour(label == value, [0.5], colors=colour, linewidths=0.8)
            if name == "lge" and (other := copied_label(subject["cine"], volume)[crop].T == 1).any():
                row[c].contour(other, [0.5], colors="yellow", linewidths=0.8, linestyles="dashed")
            row[c].set(xticks=[], yticks=[], title=f"{name} {k + 1}/{volume.image.shape[2]}")
            row[c].title.set_fontsize(8)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=75, pil_kwargs={"quality": 70, "optimize": True})  # a JPEG: noise makes a PNG large
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each network, 0 for copying alone")
    parser.add_argument("--out", type=Path, default=RESULTS / "phantom_calibration.json")
    args = parser.parse_args()
    content: dict[str, object] = {
        "settings": {"subjects": args.subjects, "training_subjects": TRAIN, "steps": args.steps, "batch": BATCH},
        "seeds": {},
    }
    for number, seed in enumerate(args.seeds):
        result, volumes = calibrate(seed, args.subjects, args.steps)
        content["seeds"][str(seed)] = result  # type: ignore[index]
        write_json(args.out, content)
        if number == 0:
            picture(volumes, args.out.with_suffix(".jpg"))
        for name, value in result.items():
            shown = f"{value['mean']} ± {value['sd']} (n={value['n']})" if isinstance(value, dict) else value
            print(f"seed {seed}: {name} {shown}", flush=True)


if __name__ == "__main__":
    main()
