# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A small two-phase objective and its data, for tests of the trainer and its handlers."""

from __future__ import annotations

from typing import ClassVar

import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from torch import nn

from monai_mmseg.data import EpochRandomSampler, WholeVolumeDataset
from monai_mmseg.engines import ObjectiveTrainer, WeightAveraging
from monai_mmseg.losses.masked import masked_mean
from monai_mmseg.objectives import Objective, PhaseOutput

PHASES = ("fit", "critic")


class ToyNetwork(nn.Module):
    """One convolution a modality, the rest shared."""

    def __init__(self, modalities: int = 2, norm: str = "batch", dropout: float = 0.2) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(nn.Conv2d(1, 4, 3, padding=1) for _ in range(modalities))
        normalise = nn.BatchNorm2d(4) if norm == "batch" else nn.GroupNorm(4, 4)  # instance norm that takes no rows
        self.shared = nn.Sequential(normalise, nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(4, 2, 1))

    def logits(self, images: list[torch.Tensor]) -> torch.Tensor:
        return self.shared(torch.cat([encode(image) for encode, image in zip(self.encoders, images, strict=False)]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits([image[:, :1]])


class ToyObjective(Objective):
    """Cross-entropy where there is a label, and a critic that tells masks from predictions."""

    phases = PHASES
    default_weights: ClassVar = {"fit": {"supervised": 1.0, "adversarial": 0.1}, "critic": {"real": 1.0, "fake": 1.0}}

    def __init__(self, network: ToyNetwork, weights=None) -> None:
        super().__init__(network, weights=weights)
        self.critic = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        self.steps = 0

    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]

    def parameters_of(self, phase):
        return list((self.network if self.check_phase(phase) == "fit" else self.critic).parameters())

    def score(self, masks):
        return self.critic(masks).mean((1, 2, 3))

    def forward(self, batch, phase, previous=None):
        image, present, labelled = batch["image"], batch["present"], batch["labelled"]
        rows = [present[:, m].nonzero().flatten() for m in range(image.shape[1])]
        label = torch.cat([batch["label"][r, m] for m, r in enumerate(rows)]).long()
        mask = torch.cat([labelled[r, m] for m, r in enumerate(rows)])
        if self.check_phase(phase) == "fit":
            self.steps += 1
            logits = self.network.logits([image[r, m : m + 1] for m, r in enumerate(rows)])
            error = nn.functional.cross_entropy(logits, label, reduction="none").mean((1, 2))
            probs = logits.softmax(1)
            terms = {"supervised": masked_mean(error, mask), "adversarial": masked_mean((self.score(probs) - 1) ** 2)}
            return PhaseOutput(terms, {"fakes": probs.detach()})
        onehot = nn.functional.one_hot(label, 2).movedim(-1, 1).to(image)
        terms = {
            "real": masked_mean((self.score(onehot) - 1) ** 2, mask),
            "fake": masked_mean(self.score(previous["fakes"]) ** 2),
        }
        return PhaseOutput(terms, {})


def toy_items(count: int = 12, size: int = 6) -> list[dict[str, torch.Tensor]]:
    """Two modalities each; every third subject lacks the second one, every fourth its labels."""
    generator = torch.Generator().manual_seed(7)
    items = []
    for i in range(count):
        image = torch.rand(2, size, size, generator=generator)
        present = torch.tensor([True, i % 3 != 0])
        items.append(
            {
                "image": image,
                "label": (image > 0.5).long(),
                "present": present,
                "labelled": present & torch.tensor([i % 4 != 0, True]),
            }
        )
    return items


def toy_trainer(max_epochs=2, *, workers=0, handlers=None, averaging=None, norm="batch", dropout=0.2, **arguments):
    """Objective with Adam x 2 on augmented random batches of 2, 5 iterations an epoch."""
    torch.manual_seed(11)
    objective = ToyObjective(ToyNetwork(norm=norm, dropout=dropout))
    transform = Compose([RandFlipd(["image", "label"], prob=0.5), RandGaussianNoised("image", prob=0.5)])
    data = WholeVolumeDataset(toy_items(), transform)
    sampler = EpochRandomSampler(data, seed=3, num_samples=10)
    loader = DataLoader(data, batch_size=2, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
    optimizers = {name: torch.optim.Adam(objective.parameter_groups(name, 1e-2)) for name in PHASES}
    average = None if averaging is None else WeightAveraging(objective.network, **averaging)
    made = handlers(objective, optimizers, average) if handlers else None
    arguments.setdefault("seed", 5)
    return ObjectiveTrainer(
        "cpu", max_epochs, loader, objective, optimizers, averaging=average, train_handlers=made, **arguments
    )
