# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Public data sets as they are downloaded, turned into datalists. Nothing is downloaded or passed on here."""

from monai_mmseg.preparation.layouts.btcv import read_btcv
from monai_mmseg.preparation.layouts.chaos import read_chaos
from monai_mmseg.preparation.layouts.importing import import_layout
from monai_mmseg.preparation.layouts.layout import Case, Layout, Step
from monai_mmseg.preparation.layouts.mmwhs import read_mmwhs
from monai_mmseg.preparation.layouts.mscmrseg import read_mscmrseg

__all__ = ["Case", "Layout", "Step", "import_layout", "read_btcv", "read_chaos", "read_mmwhs", "read_mscmrseg"]
