# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The trainer of every method, and what it needs to be repeatable."""

from monai_mmseg.engines.averaging import WeightAveraging
from monai_mmseg.engines.batch import HOST_KEYS, prepare_training_batch
from monai_mmseg.engines.evaluation_batch import PrepareModalityBatch
from monai_mmseg.engines.iteration_output import IterationOutput
from monai_mmseg.engines.loss_averages import LossAverages
from monai_mmseg.engines.objective_trainer import ObjectiveTrainer
from monai_mmseg.engines.precision import mixed_precision_pays
from monai_mmseg.engines.schedules import HoldThenCosine
from monai_mmseg.engines.seeding import epoch_seed, seed_data, seed_random_state
from monai_mmseg.engines.synchronised import synchronised

__all__ = [
    "HOST_KEYS",
    "HoldThenCosine",
    "IterationOutput",
    "LossAverages",
    "ObjectiveTrainer",
    "PrepareModalityBatch",
    "WeightAveraging",
    "epoch_seed",
    "mixed_precision_pays",
    "prepare_training_batch",
    "seed_data",
    "seed_random_state",
    "synchronised",
]
