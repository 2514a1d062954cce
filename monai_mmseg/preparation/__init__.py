# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From files to a datalist: check, statistics, contact sheet, split, merge, stacks, layouts of public sets."""

from monai_mmseg.preparation.borrow import Borrowed, borrow_labels
from monai_mmseg.preparation.check import DatalistReport, check_datalist, digest
from monai_mmseg.preparation.contact_sheet import write_contact_sheet
from monai_mmseg.preparation.export_nnunet import NnunetDataset, export_nnunet
from monai_mmseg.preparation.merge import merge_datalists
from monai_mmseg.preparation.split import assign_folds, write_folds, write_test_folds
from monai_mmseg.preparation.stacks import write_stacks
from monai_mmseg.preparation.statistics import datalist_statistics
from monai_mmseg.preparation.volume_facts import VolumeFacts

__all__ = [
    "Borrowed",
    "DatalistReport",
    "NnunetDataset",
    "VolumeFacts",
    "assign_folds",
    "borrow_labels",
    "check_datalist",
    "datalist_statistics",
    "digest",
    "export_nnunet",
    "merge_datalists",
    "write_contact_sheet",
    "write_folds",
    "write_stacks",
    "write_test_folds",
]
