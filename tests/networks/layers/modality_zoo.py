# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Small networks of many kinds, and what their conversion must equal: plain networks with norms of their own."""

from __future__ import annotations

import copy
import importlib.util

import torch
from monai.networks.nets import (
    AttentionUnet,
    BasicUNet,
    DynUNet,
    FlexibleUNet,
    MedNeXt,
    SegResNet,
    SwinUNETR,
    UNet,
    VNet,
    swin_unetr,
)
from torch import nn

from monai_mmseg.networks.layers import ModalityNorm, convert_modality_norm

if importlib.util.find_spec("einops") is None:  # SwinUNETR asks it for a permutation of axes

    def rearrange(x, pattern):
        before, after = (side.split() for side in pattern.split("->"))
        return x.permute([before.index(axis) for axis in after])

    swin_unetr.rearrange = rearrange

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
INSTANCE = ("instance", {"affine": True})


class ForeignNet(nn.Module):
    """No network of MONAI's: norms in lists and dictionaries, one used twice, two that share a weight, one bare."""

    def __init__(self):
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8, momentum=None)])
        self.body = nn.ModuleDict({"conv": nn.Conv2d(8, 8, 3, padding=1), "norm": nn.GroupNorm(4, 8)})
        self.twice = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
        self.tied = nn.BatchNorm2d(8, track_running_stats=False)
        self.bare = nn.BatchNorm2d(8, affine=False, track_running_stats=False)
        self.tied.weight = self.stem[1].weight
        self.tokens = nn.BatchNorm1d(8)
        self.root = nn.RMSNorm(8)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = self.stem[1](self.stem[0](x)).relu()
        x = x + self.twice(self.body["norm"](self.body["conv"](x)))
        x = self.bare(self.tied(self.twice(x).relu()))
        x = self.tokens(x.flatten(2)).view(x.shape)
        return self.head(self.root(x.movedim(1, -1)).movedim(-1, 1))


class TokenNet(nn.Module):
    """Transformer with the batch second, whose evaluation reads the weights of its norms past their forward."""

    def __init__(self, batch_first=False):
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Conv2d(1, 8, 4, stride=4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.ConvTranspose2d(8, 3, 4, stride=4)

    def forward(self, x):
        x = self.embed(x)
        tokens = x.flatten(2).movedim(2, 1 if self.batch_first else 0)
        return self.head(self.encoder(tokens).movedim(1 if self.batch_first else 0, 2).reshape(x.shape))


def unet(dims, norm, classes=3):
    return UNet(dims, 1, classes, channels=(4, 8, 8), strides=(2, 2), num_res_units=1, norm=norm)


def dyn_unet(dims, **kwargs):
    return DynUNet(
        dims, 1, 3, kernel_size=[3] * 4, strides=[1, 2, 2, 2], upsample_kernel_size=[2] * 3, filters=[4, 6, 8, 8],
        norm_name=("INSTANCE", {"affine": True}), **kwargs,
    )  # fmt: skip


def without_dropout(network):
    """The same network, in which nothing is left to chance."""
    for module in network.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d, nn.Dropout3d)):
            module.p = 0.0
    return network


# name -> (constructor, spatial shape)
ZOO = {
    "UNet-batch-2d": (lambda: unet(2, "batch"), (16, 16)),
    "UNet-batch-3d": (lambda: unet(3, "batch"), (8, 8, 8)),
    "UNet-batch-1d": (lambda: unet(1, "batch"), (32,)),
    "UNet-batch-bare": (lambda: unet(2, ("batch", {"affine": False})), (16, 16)),
    "UNet-batch-no-statistics": (lambda: unet(3, ("batch", {"track_running_stats": False})), (8, 8, 8)),
    "UNet-instance-2d": (lambda: unet(2, INSTANCE), (16, 16)),
    "UNet-instance-statistics": (lambda: unet(3, ("instance", {"track_running_stats": True})), (8, 8, 8)),
    "UNet-group-3d": (lambda: unet(3, ("group", {"num_groups": 2}), classes=4), (8, 8, 8)),
    "BasicUNet-2d": (lambda: BasicUNet(2, 1, 3, features=(4, 4, 8, 8, 8, 4)), (32, 32)),
    "BasicUNet-layer-2d": (
        lambda: BasicUNet(2, 1, 3, features=(4, 4, 8, 8, 8, 4), norm=("group", {"num_groups": 1})),
        (32, 32),
    ),
    "DynUNet-3d": (lambda: dyn_unet(3), (16, 16, 16)),
    "DynUNet-supervised-2d": (lambda: dyn_unet(2, deep_supervision=True, deep_supr_num=2, res_block=True), (16, 16)),
    "SegResNet-3d": (lambda: SegResNet(3, 8, 1, 3, blocks_down=(1, 1), blocks_up=(1,)), (8, 8, 8)),
    "SegResNet-batch-2d": (lambda: SegResNet(2, 8, 1, 3, norm="batch", blocks_down=(1, 1), blocks_up=(1,)), (16, 16)),
    "AttentionUnet-2d": (lambda: AttentionUnet(2, 1, 3, channels=(4, 8), strides=(2,)), (16, 16)),
    "VNet-2d": (lambda: without_dropout(VNet(2, 1, 3, dropout_dim=2)), (32, 32)),
    "SwinUNETR-2d": (
        lambda: SwinUNETR(1, 3, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), spatial_dims=2),
        (64, 64),
    ),
    "FlexibleUNet-2d": (
        lambda: FlexibleUNet(1, 3, "resnet10", decoder_channels=(16, 8, 8, 4, 4), pretrained=False, spatial_dims=2),
        (64, 64),
    ),
    "MedNeXt-2d": (
        lambda: MedNeXt(
            2,
            4,
            1,
            3,
            encoder_expansion_ratio=1,
            decoder_expansion_ratio=1,
            bottleneck_expansion_ratio=1,
            blocks_down=(1,) * 4,
            blocks_bottleneck=1,
            blocks_up=(1,) * 4,
        ),
        (32, 32),
    ),
    "foreign-2d": (ForeignNet, (8, 8)),
    "tokens-second-2d": (TokenNet, (8, 8)),  # as many tokens as rows: no shape tells the axes apart
    "tokens-first-2d": (lambda: TokenNet(batch_first=True), (8, 8)),
}
HEAVY = {"BasicUNet-2d", "DynUNet-3d", "VNet-2d", "SwinUNETR-2d", "FlexibleUNet-2d", "MedNeXt-2d"}
MODALITIES = ("ct", "mr", "us")


def image_of(name, rows=4):
    return torch.randn(rows, 1, *ZOO[name][1])


def perturbed(network):
    """A copy in which everything that belongs to a norm is random."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, NORMS):
                for parameter in norm.parameters():
                    parameter.add_(0.5 * torch.rand_like(parameter))
                if getattr(norm, "running_mean", None) is not None:
                    norm.running_mean.uniform_(-0.3, 0.3)
                    norm.running_var.uniform_(0.5, 2)
    return network


def pair(name, **kwargs):
    """The converted network, and a plain one per modality with the same kernels and that modality's norms."""
    plain = ZOO[name][0]()
    network = convert_modality_norm(plain, MODALITIES, **kwargs)
    references = {modality: perturbed(plain) for modality in MODALITIES}
    for modality, reference in references.items():
        for key, module in reference.named_modules():
            if isinstance(module, NORMS) and isinstance(network.network.get_submodule(key), ModalityNorm):
                network.network.get_submodule(key).norms[modality].load_state_dict(module.state_dict())
    return network, references


def by_rows(references, image, rows):
    """What single-modality batches through the plain networks give, put together row by row."""
    chosen = {modality: [i for i, row in enumerate(rows) if MODALITIES[row] == modality] for modality in references}
    outputs = {modality: references[modality](image[index]) for modality, index in chosen.items() if index}
    return torch.stack([outputs[MODALITIES[row]][chosen[MODALITIES[row]].index(i)] for i, row in enumerate(rows)])


def norms_of(network, modality):
    """Everything that only this modality has, by name."""
    part = f".norms.{modality}."
    return {key: value.clone() for key, value in network.state_dict().items() if part in key}
