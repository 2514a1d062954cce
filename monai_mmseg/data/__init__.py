# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Datalists, datasets and samplers."""

from monai_mmseg.data.annotations import mask_labels, select_labelled_subjects
from monai_mmseg.data.balanced_sampler import BalancedModalityBatchSampler
from monai_mmseg.data.check import DatalistReport, VolumeFacts, check_datalist
from monai_mmseg.data.contact_sheet import write_contact_sheet
from monai_mmseg.data.datalist import (
    Datalist,
    assign_folds,
    group_by_subject,
    load_datalist,
    read_datalist,
    write_folds,
)
from monai_mmseg.data.drawn_index import DrawnIndex
from monai_mmseg.data.merge import merge_datalists
from monai_mmseg.data.paired_dataset import PairedSliceDataset
from monai_mmseg.data.sampler import EpochRandomSampler
from monai_mmseg.data.stacks import write_stacks
from monai_mmseg.data.statistics import datalist_statistics
from monai_mmseg.data.subject_sampler import SubjectRandomSampler
from monai_mmseg.data.unpaired_dataset import UnpairedSliceDataset, UnpairedVolumeDataset

__all__ = [
    "BalancedModalityBatchSampler",
    "Datalist",
    "DatalistReport",
    "DrawnIndex",
    "EpochRandomSampler",
    "PairedSliceDataset",
    "SubjectRandomSampler",
    "UnpairedSliceDataset",
    "UnpairedVolumeDataset",
    "VolumeFacts",
    "assign_folds",
    "check_datalist",
    "datalist_statistics",
    "group_by_subject",
    "load_datalist",
    "mask_labels",
    "merge_datalists",
    "read_datalist",
    "select_labelled_subjects",
    "write_contact_sheet",
    "write_folds",
    "write_stacks",
]
