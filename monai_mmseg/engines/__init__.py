# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The trainer of every method, and what it needs to be repeatable."""

from monai_mmseg.engines.averaging import WeightAveraging
from monai_mmseg.engines.batch import PrepareAugmentedBatch
from monai_mmseg.engines.decayed_adam import DecayedAdam, decayed_adams
from monai_mmseg.engines.evaluation_batch import PrepareModalityBatch
from monai_mmseg.engines.objective_trainer import ObjectiveTrainer
from monai_mmseg.engines.precision import mixed_precision_pays
from monai_mmseg.engines.schedules import HoldThenCosine
from monai_mmseg.engines.seeding import seed_data, seed_random_state
from monai_mmseg.engines.synchronised import synchronised

__all__ = [
    "DecayedAdam",
    "HoldThenCosine",
    "ObjectiveTrainer",
    "PrepareAugmentedBatch",
    "PrepareModalityBatch",
    "WeightAveraging",
    "decayed_adams",
    "mixed_precision_pays",
    "seed_data",
    "seed_random_state",
    "synchronised",
]
