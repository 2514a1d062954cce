# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Inferers: volumes in, volumes out."""

from monai_mmseg.inferers.cycle_inferer import CycleInferer
from monai_mmseg.inferers.downstream_inferer import DownstreamInferer
from monai_mmseg.inferers.sampled_inferer import SampledInferer
from monai_mmseg.inferers.slice_inferer import ModalitySliceInferer
from monai_mmseg.inferers.synthesis_inferer import CrossReconstructionInferer, SynthesisInferer
from monai_mmseg.inferers.window_inferer import WindowInferer

__all__ = [
    "CrossReconstructionInferer",
    "CycleInferer",
    "DownstreamInferer",
    "ModalitySliceInferer",
    "SampledInferer",
    "SynthesisInferer",
    "WindowInferer",
]
