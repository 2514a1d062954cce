# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Networks: a folder a method, shared parts beside."""

from __future__ import annotations

from monai_mmseg.networks.nets.content_unet import ContentUNet
from monai_mmseg.networks.nets.dafnet.anatomy_encoders import AnatomyEncoders
from monai_mmseg.networks.nets.dafnet.anatomy_unet import AnatomyUNet
from monai_mmseg.networks.nets.dafnet.balancer import PairBalancer
from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet
from monai_mmseg.networks.nets.dafnet.discriminator import AdversarialDiscriminator
from monai_mmseg.networks.nets.dafnet.film_decoder import FiLMDecoder
from monai_mmseg.networks.nets.dafnet.modality_encoder import ModalityEncoder
from monai_mmseg.networks.nets.dafnet.segmentor import AnatomySegmentor
from monai_mmseg.networks.nets.dafnet.spade_decoder import SPADEDecoder
from monai_mmseg.networks.nets.dafnet.spatial_transformer import SpatialTransformer
from monai_mmseg.networks.nets.disentangle.anatomy_discriminator import AnatomyDiscriminator
from monai_mmseg.networks.nets.disentangle.attention_gated_unet import AttentionGatedUNet
from monai_mmseg.networks.nets.disentangle.decoder import DisentangleDecoder, DisentangleSpadeBlock
from monai_mmseg.networks.nets.disentangle.disentangle import DisentangleNet
from monai_mmseg.networks.nets.disentangle.encoders import DisentangleAnatomyEncoder, DisentangleAppearanceEncoder
from monai_mmseg.networks.nets.disentangle.fused_anatomy_net import FusedAnatomyNet
from monai_mmseg.networks.nets.disentangle.imputed_modalities_net import ImputedModalitiesNet
from monai_mmseg.networks.nets.disentangle.nvnet import NVNet
from monai_mmseg.networks.nets.dualstream import DualStreamUNet
from monai_mmseg.networks.nets.munit.discriminator import MultiScaleDiscriminator
from monai_mmseg.networks.nets.munit.munit import MUNIT, MUNITGenerator
from monai_mmseg.networks.nets.payer import LocalisedNet, LowResolutionNet, SpatialConfigurationNet
from monai_mmseg.networks.nets.sdnet import SDNet, SDNetDecoder
from monai_mmseg.networks.nets.select_modality import SelectModality, SelectStream
from monai_mmseg.networks.nets.ummkd.anisotropic_unet import AnisotropicUNet
from monai_mmseg.networks.nets.ummkd.dilated_residual_net import DilatedResidualNet
from monai_mmseg.networks.nets.ummkd.modality_streams import ModalityStreams
from monai_mmseg.networks.nets.ummkd.sharing import share_network
from monai_mmseg.networks.nets.ummkd.staged_dynunet import StagedDynUNet

__all__ = [
    "MUNIT",
    "AdversarialDiscriminator",
    "AnatomyDiscriminator",
    "AnatomyEncoders",
    "AnatomySegmentor",
    "AnatomyUNet",
    "AnisotropicUNet",
    "AttentionGatedUNet",
    "ContentUNet",
    "DAFNet",
    "DilatedResidualNet",
    "DisentangleAnatomyEncoder",
    "DisentangleAppearanceEncoder",
    "DisentangleDecoder",
    "DisentangleNet",
    "DisentangleSpadeBlock",
    "DualStreamUNet",
    "FiLMDecoder",
    "FusedAnatomyNet",
    "ImputedModalitiesNet",
    "LocalisedNet",
    "LowResolutionNet",
    "MUNITGenerator",
    "ModalityEncoder",
    "ModalityStreams",
    "MultiScaleDiscriminator",
    "NVNet",
    "PairBalancer",
    "SDNet",
    "SDNetDecoder",
    "SPADEDecoder",
    "SelectModality",
    "SelectStream",
    "SpatialConfigurationNet",
    "SpatialTransformer",
    "StagedDynUNet",
    "share_network",
]
