# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Images rebuilt from anatomy and modality factor, beside those they come from: Fig. 8 of DAFNet's paper."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet
from monai_mmseg.networks.nets.sdnet import SDNet
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.visualize import cross_reconstruction_figure

CAPTION = (
    "Images of one slice, and below what the decoder makes of an anatomy (row) in the style of a modality (column). "
    "Flat regions without texture are what a FiLM decoder gives; SPADE draws more."
)


@torch.no_grad()
def add_reconstructions(recorder: RunRecorder, network: DAFNet, image: Tensor, anatomies: Tensor, title: str) -> None:
    """Draw the images of one slice and their reconstructions, each anatomy deformed onto that of the image.

    Args:
        recorder: of the run folder.
        network: trained, in eval mode.
        image: slices of all modalities, ``(M, H, W)``, NaN where absent.
        anatomies: of these, ``(M, C, H, W)``.
        title: of the figure.
    """
    names = network.modalities
    seen = [m for m in range(len(names)) if not image[m].isnan().any()]
    rebuilt = {}
    for target in seen:
        fixed, shown = anatomies[target : target + 1], image[target : target + 1, None]
        style = network.style(fixed, shown).mu
        for source in seen:
            moved = fixed if source == target else network.deform(anatomies[source : source + 1], fixed)[0]
            rebuilt[names[source], names[target]] = network.decode(moved, style)[0, 0].float().cpu().numpy()
    if rebuilt:
        images = {names[m]: image[m].cpu().numpy() for m in seen}
        recorder.add_figure(cross_reconstruction_figure(images, rebuilt, title=title), "reconstruction", CAPTION)


@torch.no_grad()
def add_own_reconstructions(recorder: RunRecorder, network: SDNet, images: dict[str, Tensor], title: str) -> None:
    """Draw images and their reconstructions by a network of one image at a time.

    Args:
        recorder: of the run folder.
        network: trained, in eval mode.
        images: slice of each modality, ``(H, W)``.
        title: of the figure.
    """
    rebuilt = {}
    for name, image in images.items():
        anatomy = network.anatomy(image[None, None])
        style = network.style(anatomy, image[None, None]).mu
        rebuilt["its own anatomy", name] = network.decode(anatomy, style)[0, 0].float().cpu().numpy()
    shown = {name: image.cpu().numpy() for name, image in images.items()}
    recorder.add_figure(cross_reconstruction_figure(shown, rebuilt, title=title), "reconstruction", CAPTION)
