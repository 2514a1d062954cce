# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data sets as they are downloaded or other tools have them, turned into datalists. Nothing is downloaded here."""

from monai_mmseg.preparation.layouts.auto3dseg import read_auto3dseg
from monai_mmseg.preparation.layouts.btcv import read_btcv
from monai_mmseg.preparation.layouts.chaos import read_chaos
from monai_mmseg.preparation.layouts.folder import read_folder
from monai_mmseg.preparation.layouts.importing import import_layout
from monai_mmseg.preparation.layouts.layout import Case, Layout, Step
from monai_mmseg.preparation.layouts.mmwhs import read_mmwhs
from monai_mmseg.preparation.layouts.mscmrseg import read_mscmrseg
from monai_mmseg.preparation.layouts.msd import read_msd
from monai_mmseg.preparation.layouts.nnunet import read_nnunet

__all__ = [
    "Case",
    "Layout",
    "Step",
    "import_layout",
    "read_auto3dseg",
    "read_btcv",
    "read_chaos",
    "read_folder",
    "read_mmwhs",
    "read_mscmrseg",
    "read_msd",
    "read_nnunet",
]
