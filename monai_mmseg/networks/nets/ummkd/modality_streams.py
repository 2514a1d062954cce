# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One network for several modalities, of which some stages exist once per modality."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from torch import Tensor, nn

from monai_mmseg.networks.layers.modality_selection import ModalitySelection, modality_name, select_modality

_Rows = Tensor | dict[str, Tensor]  # all rows in the order of the batch, or those of each modality


class ModalityStreams(nn.Module):
    """One network for unpaired modalities that share some of its stages, kernels and normalisation alike.

    Use it for what lies between one network for all modalities and one for each, to compare with
    :func:`~monai_mmseg.networks.layers.convert_modality_norm`, which shares all kernels but no normalisation:
    ``separate`` is empty for a joint network, names the first stages for a Y-shape (encoders apart), the first and the
    last ones for an X-shape (encoders and decoders apart), and all stages for individual networks.

    The network runs stage by stage. Any network will do that has

    - ``stages``: names of its children in the order in which they run, each from one tensor to one tensor, the first on
      the image and the last to the logits;
    - ``skips`` (where it has skip connections): for the name of a stage, that of an earlier one whose output it takes
      as second argument. A modality's row meets the skips that its own encoder made;
    - ``check_image`` (where not every image will do): a method that raises for one that does not fit.

    Rows of a mixed batch may come in any order and modalities may be missing: a separate stage runs once for each
    modality that is there, a shared stage once for all rows. In ``DistributedDataParallel``, set
    ``find_unused_parameters``: separate stages of a modality that a batch lacks get no gradient. For export use
    :meth:`specialize`.

    Args:
        network: the plain network; it is copied, and every modality starts from its weights.
        modalities: names; their order gives the indices.
        separate: stages that exist once per modality.
        default_modality: what ``modality=None`` means. ``None``: the first.
        joint_stats: what batch normalisation of a shared stage averages over when a training batch is mixed:
            ``"concatenated"`` all rows, ``"per_stream"`` the rows of one modality at a time, in their order, as the
            original code does (the running statistics then drift towards the modality that comes last).

    Raises:
        ValueError: if ``network`` has no stages or an argument does not fit it.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020 (arXiv:2001.03111),
        section IV-B (settings Individual, Joint, X-shape, Y-shape).

    Examples:
        >>> import torch
        >>> from monai_mmseg.networks.nets import AnisotropicUNet
        >>> plain = AnisotropicUNet(3, 1, 5, features=(4, 8, 16, 32))
        >>> net = ModalityStreams(plain, ["ct", "mr"], separate=["encoder_1", "encoder_2", "encoder_3"])
        >>> image = torch.rand(3, 1, 16, 16, 8)
        >>> net(image, torch.tensor([1, 0, 1])).shape, net(image, "mr").shape
        (torch.Size([3, 5, 16, 16, 8]), torch.Size([3, 5, 16, 16, 8]))
        >>> type(net.specialize("mr")).__name__
        'AnisotropicUNet'
    """

    def __init__(
        self,
        network: nn.Module,
        modalities: Sequence[str],
        *,
        separate: Sequence[str] = (),
        default_modality: str | None = None,
        joint_stats: Literal["concatenated", "per_stream"] = "concatenated",
    ) -> None:
        super().__init__()
        if isinstance(modalities, str) or not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be a list of different names, got {modalities!r}.")
        if default_modality is not None and default_modality not in modalities:
            raise ValueError(f"default_modality must be one of {list(modalities)}, got {default_modality!r}.")
        if joint_stats not in ("concatenated", "per_stream"):
            raise ValueError(f"joint_stats must be 'concatenated' or 'per_stream', got {joint_stats!r}.")
        self.stages, self.skips = _stages_of(network)
        if isinstance(separate, str) or not set(separate) <= set(self.stages):
            raise ValueError(f"separate must list stages of {list(self.stages)}, got {separate!r}.")
        self.modalities = tuple(modalities)
        self.default_modality = self.modalities[0] if default_modality is None else default_modality
        self.joint_stats = str(joint_stats)
        self.separate = tuple(stage for stage in self.stages if stage in separate)
        self.shared = copy.deepcopy(network)  # its separate stages are empty places
        self.streams = nn.ModuleDict()
        for stage in self.separate:
            self.streams[stage] = _one_each(getattr(self.shared, stage), self.modalities)
            setattr(self.shared, stage, nn.Identity())
        self.training = network.training

    def forward(self, image: Tensor, modality: str | int | Sequence[str | int] | Tensor | None = None) -> Tensor:
        """What the last stage gives, logits ``(B, K, *spatial)``, rows in the order of ``image``.

        Args:
            image: shape ``(B, C, *spatial)``.
            modality: a name or an index into ``modalities`` for all rows, or one for each row (list, or integer tensor
                ``(B,)`` on the CPU), in any order. ``None``: ``default_modality``.

        Raises:
            ValueError: for an unknown modality, or an image that the network does not take.
        """
        selection = select_modality(modality, self.modalities, self.default_modality, image.shape[0])
        check = getattr(self.shared, "check_image", None)
        if check is not None:
            check(image)
        kept: dict[str, _Rows] = {}
        hidden: _Rows = image
        for stage in self.stages:
            inputs = [hidden, kept[self.skips[stage]]] if stage in self.skips else [hidden]
            hidden = self._run(stage, inputs, selection)
            if stage in self.skips.values():
                kept[stage] = hidden
        return _joined(hidden, selection)

    def specialize(self, modality: str | int) -> nn.Module:
        """Plain network of one modality, by name or index: a copy of the original class with its shared and own stages.

        Use it to export or serve: its output is that of this network for the modality.

        Raises:
            ValueError: for an unknown modality.
        """
        name = modality_name(modality, self.modalities)
        plain = copy.deepcopy(self.shared)
        for stage in self.separate:
            setattr(plain, stage, copy.deepcopy(self._stream(stage, name)))
        return plain

    def _stream(self, stage: str, modality: str) -> nn.Module:
        return cast(nn.ModuleDict, self.streams[stage])[modality]

    def _run(self, stage: str, inputs: list[_Rows], selection: ModalitySelection) -> _Rows:
        separate = stage in self.separate
        if selection.modality is not None:
            layers = self._stream(stage, selection.modality) if separate else getattr(self.shared, stage)
            return cast(Tensor, layers(*inputs))
        apart = self.joint_stats == "per_stream" and self.training
        if not separate and not apart:
            return cast(Tensor, getattr(self.shared, stage)(*[_joined(rows, selection) for rows in inputs]))
        parts = [_parted(rows, selection) for rows in inputs]
        present = [name for name in self.modalities if name in parts[0]]
        return {
            name: (self._stream(stage, name) if separate else getattr(self.shared, stage))(
                *[part[name] for part in parts]
            )
            for name in present
        }

    def extra_repr(self) -> str:
        """Settings for ``print(module)``."""
        return (
            f"modalities={self.modalities}, separate={self.separate}, default_modality={self.default_modality!r}, "
            f"joint_stats={self.joint_stats!r}"
        )


def _joined(rows: _Rows, selection: ModalitySelection) -> Tensor:
    return rows if isinstance(rows, Tensor) else selection.scatter(rows)


def _parted(rows: _Rows, selection: ModalitySelection) -> dict[str, Tensor]:
    return selection.gather(rows) if isinstance(rows, Tensor) else rows


def _one_each(stage: nn.Module, modalities: Sequence[str]) -> nn.ModuleDict:
    """Copies of a stage by modality, the first of them the stage itself."""
    copies = nn.ModuleDict()
    for index, name in enumerate(modalities):
        try:
            copies[name] = copy.deepcopy(stage) if index else stage
        except (KeyError, TypeError) as error:  # a dot, an empty name, a method of the container
            raise ValueError(f"modality {name!r} cannot be the name of a module: {error}.") from error
    return copies


def _stages_of(network: nn.Module) -> tuple[tuple[str, ...], dict[str, str]]:
    """The stages of a network and its skips, checked."""
    kind = type(network).__name__
    children = [name for name, _ in network.named_children()]
    stages = getattr(network, "stages", None)
    if not isinstance(stages, Sequence) or isinstance(stages, str) or not stages or not set(stages) <= set(children):
        raise ValueError(
            f"network must have an attribute stages that lists children in the order in which they run; "
            f"the children of this {kind} are {children}, its stages {stages!r}."
        )
    skips = getattr(network, "skips", {})
    order = {name: index for index, name in enumerate(stages)}
    fits = isinstance(skips, Mapping) and all(
        stage in order and source in order and order[source] < order[stage] for stage, source in skips.items()
    )
    if not fits:
        raise ValueError(
            f"skips of network must lead from a stage to an earlier one of {tuple(stages)}, got {skips!r}."
        )
    return tuple(stages), dict(skips)
