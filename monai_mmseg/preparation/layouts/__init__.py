# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Public data sets as they are downloaded, turned into datalists. Nothing is downloaded or passed on here."""

from monai_mmseg.preparation.layouts.btcv import read_btcv
from monai_mmseg.preparation.layouts.chaos import read_chaos
from monai_mmseg.preparation.layouts.layout import Case, Layout
from monai_mmseg.preparation.layouts.mmwhs import read_mmwhs
from monai_mmseg.preparation.layouts.mscmrseg import read_mscmrseg
from monai_mmseg.preparation.layouts.write import LAYOUTS, write_layout

__all__ = ["LAYOUTS", "Case", "Layout", "read_btcv", "read_chaos", "read_mmwhs", "read_mscmrseg", "write_layout"]
