# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Event handlers for the trainer and the evaluators, beside those of MONAI."""

from typing import TYPE_CHECKING

from monai_mmseg.lazy import lazy_names

if TYPE_CHECKING:
    from monai_mmseg.handlers.averaged_validation import AveragedValidationHandler
    from monai_mmseg.handlers.best_model import BestModelSaver
    from monai_mmseg.handlers.board import TensorBoardRecord
    from monai_mmseg.handlers.class_confusion import ClassConfusionHandler
    from monai_mmseg.handlers.class_dice import ClassDiceHandler
    from monai_mmseg.handlers.early_stop import EarlyStop
    from monai_mmseg.handlers.final_model import FinalModelSaver
    from monai_mmseg.handlers.mlflow_record import MLflowRecord
    from monai_mmseg.handlers.progress import Progress
    from monai_mmseg.handlers.resume import ResumeCheckpoint
    from monai_mmseg.handlers.run_record import RunRecordHandler
    from monai_mmseg.handlers.score_table import ScoreTableHandler
    from monai_mmseg.handlers.validation_picture import ValidationPicture

__all__ = [
    "AveragedValidationHandler",
    "BestModelSaver",
    "ClassConfusionHandler",
    "ClassDiceHandler",
    "EarlyStop",
    "FinalModelSaver",
    "MLflowRecord",
    "Progress",
    "ResumeCheckpoint",
    "RunRecordHandler",
    "ScoreTableHandler",
    "TensorBoardRecord",
    "ValidationPicture",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
