# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From a plain network to one with normalisation per modality, and back."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from monai_mmseg.networks.layers.modality_norm import MixedBatch, ModalityNorm, ModalityNormNetwork
from monai_mmseg.networks.layers.modality_selection import modality_name

logger = logging.getLogger(__name__)

NORM_TYPES: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Layers that are made modality-specific; the first stands for batch and instance normalisation of every kind."""

_ROWS_FIRST = (_NormBase, nn.GroupNorm)  # their first axis is the batch by definition

Module = TypeVar("Module", bound=nn.Module)


def convert_modality_norm(
    network: nn.Module,
    modalities: Sequence[str],
    default_modality: str | None = None,
    *,
    norm_types: tuple[type[nn.Module], ...] = NORM_TYPES,
    mixed: MixedBatch | None = None,
) -> ModalityNormNetwork:
    """The same network with a normalisation of its own for each modality, all other weights shared.

    When to use: to train one network on images of several modalities, scanners or sites that need not be of the same
    patients. Every modality starts from the weights and statistics that the network has, so a pretrained network gives
    the same output after the conversion as before.

    Args:
        network: any network whose normalisation is made of modules. It is left as it is; the result is a copy.
        modalities: names; their order gives the indices.
        default_modality: what ``modality=None`` means. ``None``: the first.
        norm_types: classes of layers to convert, subclasses included. Add the class of a normalisation of your own.
        mixed: see :class:`ModalityNormNetwork`. ``None``: ``"together"`` if batch, instance and group normalisation is
            all there is, else ``"apart"``, because the first axis of what a layer normalisation gets need not be the
            batch (transformers).

    Returns:
        The network, to be called with ``network(image, modality)``.

    Raises:
        ValueError: if names are not usable, there is no normalisation layer, or a lazy one has not run yet.

    Reference:
        Q. Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020,
        https://doi.org/10.48550/arXiv.2001.03111.

    Examples:
        >>> import torch
        >>> from monai.networks.nets import BasicUNet
        >>> plain = BasicUNet(2, 1, 3, features=(4, 4, 8, 8, 8, 4), norm="batch").eval()
        >>> net = convert_modality_norm(plain, ["ct", "mr"])
        >>> image = torch.rand(1, 1, 32, 32)
        >>> torch.equal(net(image, "mr"), plain(image))
        True
    """
    if isinstance(network, ModalityNormNetwork):
        raise ValueError("network has modality-specific normalisation already; see add_modality.")
    names = ModalityNormNetwork(nn.Identity(), modalities, default_modality, mixed=mixed or "apart").modalities
    found = [module for module in network.modules() if isinstance(module, norm_types)]
    if not found:
        raise ValueError(
            f"network must have normalisation layers of {[kind.__name__ for kind in norm_types]}, "
            f"{type(network).__name__} has none."
        )
    if any(is_lazy(value) for norm in found for value in itertools.chain(norm.parameters(), norm.buffers())):
        raise ValueError("network has lazy normalisation layers: run it once before the conversion.")
    stateless = [norm for norm in found if not _differs(norm)]
    if len(stateless) == len(found):
        logger.warning(
            "%s normalises without scale, shift or statistics: nothing differs between modalities. Build it with "
            "affine normalisation, such as norm=('instance', {'affine': True}).",
            type(network).__name__,
        )
    memos: dict[str, dict[int, Any]] = {name: {} for name in names}  # layers that share a weight go on sharing it

    def split(norm: nn.Module) -> nn.Module:
        if not _differs(norm):
            return norm
        return ModalityNorm({name: copy.deepcopy(norm, memos[name]) for name in names})

    converted = _replaced(_copied(network), norm_types, split)
    if mixed is None:
        mixed = "together" if all(isinstance(norm, _ROWS_FIRST) for norm in found if norm not in stateless) else "apart"
    result = ModalityNormNetwork(converted, names, default_modality, mixed=mixed)
    result.training = network.training
    return result


def specialize(network: nn.Module, modality: str | int) -> nn.Module:
    """The plain network of one modality: original class, original names of the weights, no choice left.

    When to use: for what leaves the laboratory. Whatever the original network can do (``torch.export``, ONNX,
    ``ckpt_export``, TensorRT, MONAI Label) the result can do.

    Args:
        network: from :func:`convert_modality_norm`, or one with a method ``specialize`` of its own, such as
            :class:`~monai_mmseg.networks.nets.ModalityStreams`. It is left as it is.
        modality: name or index of the modality to keep.

    Returns:
        A network that shares nothing with ``network``.

    Raises:
        TypeError: if ``network`` knows no modalities.
        ValueError: for an unknown modality.

    Examples:
        >>> from monai.networks.nets import UNet
        >>> net = convert_modality_norm(UNet(2, 1, 5, channels=(4, 8), strides=(2,), norm="batch"), ["ct", "mr"])
        >>> type(specialize(net, "mr")).__name__
        'UNet'
    """
    own = getattr(network, "specialize", None)
    if callable(own):
        return own(modality)
    network = _converted(network)
    name = modality_name(modality, network.modalities)
    return _replaced(_copied(network.network), (ModalityNorm,), lambda layer: layer.norms[name])


def add_modality(
    network: ModalityNormNetwork, name: str, like: str | None = None, *, freeze: bool = False
) -> ModalityNormNetwork:
    """The same network with one more modality, which starts from the normalisation of another.

    When to use: to take a new scanner, site or sequence into a trained network. With ``freeze`` only the new
    normalisation learns, so that results of the modalities that were there before cannot change.

    Args:
        network: from :func:`convert_modality_norm`; it is left as it is. Make the optimiser anew for the result.
        name: of the new modality; it gets the next index.
        like: modality to start from. ``None``: the default modality.
        freeze: let every parameter but those of the new normalisation be constant.

    Returns:
        A network that shares nothing with ``network``.

    Raises:
        TypeError: if ``network`` is no :class:`ModalityNormNetwork`.
        ValueError: if ``name`` is there already, or ``like`` is not.

    Examples:
        >>> net = convert_modality_norm(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), ["ct", "mr"])
        >>> net = add_modality(net, "us", like="mr", freeze=True)
        >>> [key for key, value in net.named_parameters() if value.requires_grad]
        ['network.1.norms.us.weight', 'network.1.norms.us.bias']
    """
    network = _converted(network)
    source = network.default_modality if like is None else modality_name(like, network.modalities)
    if name in network.modalities:
        raise ValueError(f"name must be a new modality, got {name!r}; there are {list(network.modalities)} already.")
    result = ModalityNormNetwork(
        _copied(network.network), [*network.modalities, name], network.default_modality, mixed=network.mixed
    )
    result.training = network.training
    if freeze:
        result.requires_grad_(False)
    memo: dict[int, Any] = {}
    for layer in result.modules():
        if isinstance(layer, ModalityNorm):
            layer.add(name, copy.deepcopy(layer.norms[source], memo).requires_grad_())
    return result


def _converted(network: object) -> ModalityNormNetwork:
    if not isinstance(network, ModalityNormNetwork):
        raise TypeError(f"network must come from convert_modality_norm, got {type(network).__name__}.")
    return network


def _differs(norm: nn.Module) -> bool:
    """Whether the layer can differ between modalities: it has weights or statistics, or rows meet in it."""
    if any(True for _ in norm.parameters()) or any(True for _ in norm.buffers()):
        return True
    return isinstance(norm, _NormBase) and not isinstance(
        norm, (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    )


def _replaced(network: Module, kinds: tuple[type[nn.Module], ...], replace: Callable[[Any], nn.Module]) -> Any:
    """``network`` with every module of these classes replaced, in place; one used in two places stays one."""
    done: dict[int, nn.Module] = {}

    def replacement(module: nn.Module) -> nn.Module:
        if id(module) not in done:
            done[id(module)] = replace(module)
        return done[id(module)]

    if isinstance(network, kinds):
        return replacement(network)
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and isinstance(child, kinds) and not isinstance(parent, ModalityNorm):
                parent.register_module(name, replacement(child))
    return network


def _copied(network: Module) -> Module:
    """A deep copy, also of a network that keeps results of its last forward pass (MONAI's ``DynUNet`` does)."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        for tensor in _tensors(vars(module)):
            if tensor.grad_fn is not None:
                memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(network, memo)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
