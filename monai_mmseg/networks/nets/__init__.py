# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Networks, one file each."""

from __future__ import annotations

from monai_mmseg.networks.nets.anatomy_discriminator import AnatomyDiscriminator
from monai_mmseg.networks.nets.anatomy_encoders import AnatomyEncoders
from monai_mmseg.networks.nets.anatomy_unet import AnatomyUNet, ContractingPath, ExpandingPath
from monai_mmseg.networks.nets.anisotropic_unet import AnisotropicUNet
from monai_mmseg.networks.nets.attention_gated_unet import AttentionGatedUNet
from monai_mmseg.networks.nets.balancer import PairBalancer
from monai_mmseg.networks.nets.dafnet import DAFNet, DAFNetFactors
from monai_mmseg.networks.nets.dilated_residual_net import DilatedResidualNet
from monai_mmseg.networks.nets.discriminator import AdversarialDiscriminator, SpectralKind
from monai_mmseg.networks.nets.disentangle import DisentangledFactors, DisentangleNet
from monai_mmseg.networks.nets.disentangle_decoder import DisentangleDecoder, DisentangleSpadeBlock, SpadeMaps
from monai_mmseg.networks.nets.disentangle_encoders import (
    AppearanceCode,
    DisentangleAnatomyEncoder,
    DisentangleAppearanceEncoder,
    anatomy_softmax,
)
from monai_mmseg.networks.nets.downstream import DownstreamNet
from monai_mmseg.networks.nets.filled_modalities_net import FilledModalitiesNet
from monai_mmseg.networks.nets.film_decoder import FiLMDecoder
from monai_mmseg.networks.nets.fused_anatomy_net import FusedAnatomyNet
from monai_mmseg.networks.nets.modality_encoder import ModalityEncoder, StyleOutput
from monai_mmseg.networks.nets.modality_streams import ModalityStreams
from monai_mmseg.networks.nets.nvnet import NVNet, NVNetFactors
from monai_mmseg.networks.nets.segmentor import AnatomySegmentor
from monai_mmseg.networks.nets.select_modality import SelectModality
from monai_mmseg.networks.nets.sharing import share_network
from monai_mmseg.networks.nets.spade_decoder import SPADEDecoder
from monai_mmseg.networks.nets.spatial_transformer import SpatialTransformer, SpatialTransformerOutput

__all__ = [
    "AdversarialDiscriminator",
    "AnatomyDiscriminator",
    "AnatomyEncoders",
    "AnatomySegmentor",
    "AnatomyUNet",
    "AnisotropicUNet",
    "AppearanceCode",
    "AttentionGatedUNet",
    "ContractingPath",
    "DAFNet",
    "DAFNetFactors",
    "DilatedResidualNet",
    "DisentangleAnatomyEncoder",
    "DisentangleAppearanceEncoder",
    "DisentangleDecoder",
    "DisentangleNet",
    "DisentangleSpadeBlock",
    "DisentangledFactors",
    "DownstreamNet",
    "ExpandingPath",
    "FiLMDecoder",
    "FilledModalitiesNet",
    "FusedAnatomyNet",
    "ModalityEncoder",
    "ModalityStreams",
    "NVNet",
    "NVNetFactors",
    "PairBalancer",
    "SPADEDecoder",
    "SelectModality",
    "SpadeMaps",
    "SpatialTransformer",
    "SpatialTransformerOutput",
    "SpectralKind",
    "StyleOutput",
    "anatomy_softmax",
    "share_network",
]
