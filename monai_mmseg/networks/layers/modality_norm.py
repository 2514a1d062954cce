# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Normalisation that exists once per modality, and the network around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_mmseg.networks.layers.modality_selection import (
    ModalitySelection,
    active_selection,
    modality_name,
    select_modality,
    selection_active,
)

MixedBatch = Literal["together", "apart"]


class ModalityNorm(nn.Module):
    """One normalisation layer per modality, of which each row of a batch meets its own.

    Use :func:`convert_modality_norm` to put it in place of every normalisation of a network.

    Args:
        norms: one layer per modality.

    Raises:
        ValueError: if there is no layer, or a modality has a name that a module cannot have.

    Reference:
        Q. Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020,
        https://doi.org/10.48550/arXiv.2001.03111.

    Examples:
        >>> from monai_mmseg.networks.layers.modality_selection import ModalitySelection, selection_active
        >>> layer = ModalityNorm({"ct": nn.BatchNorm2d(2), "mr": nn.BatchNorm2d(2)})
        >>> with selection_active(ModalitySelection("mr")):
        ...     _ = layer(torch.rand(2, 2, 4, 4))
        >>> layer.norms["ct"].num_batches_tracked.item(), layer.norms["mr"].num_batches_tracked.item()
        (0, 1)
    """

    def __init__(self, norms: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not norms:
            raise ValueError("norms must hold one layer per modality, got none.")
        self.norms = nn.ModuleDict()
        for name, norm in norms.items():
            self.add(name, norm)

    def add(self, name: str, norm: nn.Module) -> None:
        """Take in the layer of a further modality."""
        try:
            self.norms[name] = norm
        except (KeyError, TypeError) as error:  # a dot, an empty name, a method of the container
            raise ValueError(f"modality {name!r} cannot be the name of a module: {error}.") from error

    def forward(self, x: Tensor) -> Tensor:
        """Each row, the first axis of a mixed batch, normalised with the layer of its modality.

        Raises:
            RuntimeError: outside of the forward pass of the network, and for a mixed batch whose rows are not the first
                axis here.
        """
        selection = active_selection()
        if selection is None:
            raise RuntimeError(
                "modality-specific normalisation ran without a modality: call the ModalityNormNetwork, or wrap the "
                "call in `with network.using(modality):`. A gradient checkpoint that is not torch.utils.checkpoint's "
                "cannot know the modality when it runs again; switch it off."
            )
        if selection.modality is not None:
            return self.norms[selection.modality](x)
        if x.shape[0] != selection.rows:
            raise RuntimeError(
                f"a mixed batch of {selection.rows} rows reached a normalisation as {tuple(x.shape)}, where the first "
                "axis is not the row: convert the network with mixed='apart', which runs it modality by modality."
            )
        if self._per_row(x):
            return self._normalise_rows(x, selection)
        return selection.scatter({name: self.norms[name](part) for name, part in selection.gather(x).items()})

    def _per_row(self, x: Tensor) -> bool:
        """Whether rows do not meet and channels come first, so that one call can serve all rows."""
        norm = next(iter(self.norms.values()))
        if x.dim() < 3 or not x.is_contiguous():
            return False
        if type(norm) is nn.GroupNorm:
            return True
        return type(norm) in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d) and not norm.track_running_stats

    def _normalise_rows(self, x: Tensor, selection: ModalitySelection) -> Tensor:
        """Instance or group normalisation of all rows in one call: rows become channels with weights of their own."""
        norms = [self.norms[name] for name, length in selection.runs for _ in range(length)]
        first = cast("nn.GroupNorm | nn.InstanceNorm3d", norms[0])
        weight, bias = (
            None if getattr(first, name) is None else torch.cat([cast(Tensor, getattr(norm, name)) for norm in norms])
            for name in ("weight", "bias")
        )
        rows = x.reshape(1, x.shape[0] * x.shape[1], *x.shape[2:])
        if isinstance(first, nn.GroupNorm):
            return F.group_norm(rows, x.shape[0] * first.num_groups, weight, bias, first.eps).view(x.shape)
        return F.instance_norm(rows, weight=weight, bias=bias, eps=first.eps).view(x.shape)

    def __getattr__(self, name: str) -> Any:
        """What a network reads of its normalisation (`eps`, `weight`): that of the modality it runs for."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            selection = None if name.startswith("_") or name == "norms" else active_selection()
            if selection is None or selection.modality is None:
                raise
            return getattr(self.norms[selection.modality], name)


class ModalityNormNetwork(nn.Module):
    """A network whose normalisation is that of the modality of its input; everything else is shared.

    Made by :func:`convert_modality_norm`. Where a network has methods beside ``forward``, call them on ``network``
    inside ``with self.using(modality):``. In ``DistributedDataParallel``, set ``find_unused_parameters``: parameters of
    a modality that a batch lacks get no gradient.

    Args:
        network: holds :class:`ModalityNorm` layers.
        modalities: names; their order gives the indices.
        default_modality: what ``modality=None`` means. ``None``: the first.
        mixed: how a batch of several modalities runs. ``"together"``: one pass, in which only normalisation tells the
            rows apart; rows must be the first axis of its input. ``"apart"``: one pass per modality, right for any
            network.

    Raises:
        ValueError: if ``modalities`` repeat a name, ``default_modality`` is not one of them, or ``mixed`` is unknown.

    Examples:
        >>> from monai.networks.nets import UNet
        >>> from monai_mmseg.networks.layers import convert_modality_norm
        >>> net = convert_modality_norm(UNet(2, 1, 5, channels=(4, 8), strides=(2,), norm="batch"), ["ct", "mr"])
        >>> image = torch.rand(3, 1, 16, 16)
        >>> net(image, "mr").shape, net(image, torch.tensor([1, 0, 1])).shape
        (torch.Size([3, 5, 16, 16]), torch.Size([3, 5, 16, 16]))
    """

    def __init__(
        self,
        network: nn.Module,
        modalities: Sequence[str],
        default_modality: str | None = None,
        *,
        mixed: MixedBatch = "apart",
    ) -> None:
        super().__init__()
        if isinstance(modalities, str) or not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be a list of different names, got {modalities!r}.")
        if default_modality is not None and default_modality not in modalities:
            raise ValueError(f"default_modality must be one of {list(modalities)}, got {default_modality!r}.")
        if mixed not in ("together", "apart"):
            raise ValueError(f"mixed must be 'together' or 'apart', got {mixed!r}.")
        self.network = network
        self.modalities = tuple(modalities)
        self.default_modality = self.modalities[0] if default_modality is None else default_modality
        self.mixed: MixedBatch = mixed

    def forward(self, image: Tensor, modality: str | int | Sequence[str | int] | Tensor | None = None) -> Any:
        """What the network returns, rows in the order of ``image``.

        Args:
            image: shape ``(B, C, *spatial)``.
            modality: a name or an index into ``modalities`` for all rows, or one for each row (list, or integer tensor
                ``(B,)`` on the CPU), in any order. ``None``: ``default_modality``.

        Raises:
            ValueError: for an unknown modality.
        """
        selection = select_modality(modality, self.modalities, self.default_modality, image.shape[0])
        if selection.modality is not None or self.mixed == "together":
            with selection_active(selection):
                return self.network(image)
        outputs = {}
        for name, part in selection.gather(image).items():
            with selection_active(ModalitySelection(name)):
                outputs[name] = self.network(part)
        return _merge(outputs, selection.scatter)

    @contextmanager
    def using(self, modality: str | int | Sequence[str | int] | Tensor | None = None) -> Iterator[None]:
        """Let parts of ``network`` run for a modality, or for one of each row, inside a ``with`` block.

        Examples:
            >>> from monai_mmseg.networks.layers import convert_modality_norm
            >>> net = convert_modality_norm(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), ["ct", "mr"])
            >>> with net.using("mr"):
            ...     features = net.network[1](torch.rand(2, 2, 4, 4))
        """
        with selection_active(select_modality(modality, self.modalities, self.default_modality)):
            yield

    def modality_parameters(self, modality: str) -> list[nn.Parameter]:
        """Parameters that only one modality has: its scales and shifts.

        Raises:
            ValueError: for an unknown modality.
        """
        name = modality_name(modality, self.modalities)
        layers = [layer.norms[name] for layer in self.network.modules() if isinstance(layer, ModalityNorm)]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def extra_repr(self) -> str:
        """Settings for ``print(module)``."""
        return f"modalities={self.modalities}, default_modality={self.default_modality!r}, mixed={self.mixed!r}"


def _merge(outputs: Mapping[str, Any], scatter: Callable[[Mapping[str, Tensor]], Tensor]) -> Any:
    """Outputs of one pass per modality as one output: tensors, and lists, tuples and dictionaries of them."""
    first = next(iter(outputs.values()))
    if isinstance(first, Tensor) and first.dim() > 0:
        return scatter(outputs)
    if isinstance(first, Mapping):
        return {key: _merge({name: output[key] for name, output in outputs.items()}, scatter) for key in first}
    if isinstance(first, (list, tuple)):
        merged = [_merge({name: output[i] for name, output in outputs.items()}, scatter) for i in range(len(first))]
        return type(first)(*merged) if hasattr(first, "_fields") else type(first)(merged)
    if first is None:
        return None
    raise TypeError(
        f"a mixed batch ran modality by modality, and the outputs hold a {type(first).__name__} without rows, which "
        "cannot be joined: give each modality its own batch, or convert the network with mixed='together'."
    )
