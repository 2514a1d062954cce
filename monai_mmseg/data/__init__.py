# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Datalists, datasets and samplers."""

from typing import TYPE_CHECKING

from monai_mmseg.lazy import lazy_names

if TYPE_CHECKING:
    from monai_mmseg.data.balanced_sampler import BalancedModalityBatchSampler
    from monai_mmseg.data.datalist import (
        Datalist,
        group_by_subject,
        label_problem,
        load_datalist,
        read_datalist,
    )
    from monai_mmseg.data.leaks import find_leaks
    from monai_mmseg.data.paired_dataset import PairedSliceDataset
    from monai_mmseg.data.sampler import EpochRandomSampler
    from monai_mmseg.data.subject_sampler import SubjectRandomSampler
    from monai_mmseg.data.unpaired_dataset import UnpairedSliceDataset, UnpairedVolumeDataset
    from monai_mmseg.data.volume_store import remove_unused
    from monai_mmseg.data.whole_volumes import WholeVolumeDataset
    from monai_mmseg.data.workers import default_workers

__all__ = [
    "BalancedModalityBatchSampler",
    "Datalist",
    "EpochRandomSampler",
    "PairedSliceDataset",
    "SubjectRandomSampler",
    "UnpairedSliceDataset",
    "UnpairedVolumeDataset",
    "WholeVolumeDataset",
    "default_workers",
    "find_leaks",
    "group_by_subject",
    "label_problem",
    "load_datalist",
    "read_datalist",
    "remove_unused",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
