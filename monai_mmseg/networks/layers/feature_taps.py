# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Intermediate features of any network, by the names of its modules."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from monai_mmseg.networks.layers.modality_selection import active_selection

WRAPPERS = ("network", "shared", "module", "_orig_mod")  # of this package, of parallel training, of a compiled module


class FeatureTaps:
    """Records what named modules of a network put out, while a ``with`` block runs.

    When to use: for a loss on intermediate features, or for a look at them, with a network that stays as it is. Hooks
    are there inside the block only, so copying, saving, exporting and serving the network know nothing of them. The
    features keep their gradient. A module that ``torch.compile`` fused into a larger graph cannot be relied on to
    report: compile parts that hold no tapped module.

    Args:
        network: any network, also one of :func:`~monai_mmseg.networks.layers.convert_modality_norm`.
        names: names of modules, as ``network.named_modules()`` has them; a leading ``network.`` or ``module.`` that a
            wrapper added may be left out.

    Raises:
        ValueError: for a name that no module has, with the closest ones, or that is listed twice.

    Examples:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
        >>> with FeatureTaps(net, ["0", "1"]) as taps:
        ...     logits = net(torch.rand(2, 1, 8, 8))
        >>> taps["0"].shape, list(taps)
        (torch.Size([2, 4, 6, 6]), ['0', '1'])
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        if isinstance(names, str) or not names or len(set(names)) < len(names):
            raise ValueError(f"names must list different modules, got {names!r}.")
        self.names = tuple(names)
        self.modules = {name: _find(network, name) for name in names}
        self._calls: dict[str, list[tuple[str | None, Tensor]]] = {}
        self._versions: dict[str, list[int | None]] = {}
        self._hooks: ExitStack | None = None

    def __enter__(self) -> FeatureTaps:
        """Start to record; what was recorded before is dropped."""
        if self._hooks is not None:
            raise RuntimeError("these taps are recording already: one pass at a time, or taps of their own for each.")
        self._calls = {name: [] for name in self.names}
        self._versions = {name: [] for name in self.names}
        self._hooks = ExitStack()
        for name, module in self.modules.items():
            self._hooks.callback(module.register_forward_hook(self._recorder(name)).remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop recording."""
        if self._hooks is not None:
            self._hooks.close()
        self._hooks = None

    def _recorder(self, name: str) -> Any:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"module {name!r} puts out {type(output).__name__}, not one tensor: tap a part of it.")
            selection = active_selection()
            self._calls[name].append((None if selection is None else selection.modality, output))
            self._versions[name].append(_version(output))

        return record

    def __iter__(self) -> Iterator[str]:
        """Names of the taps."""
        return iter(self.names)

    def __getitem__(self, name: str) -> Tensor:
        """What a module put out.

        Raises:
            KeyError: for a name that is not tapped.
            RuntimeError: unless the module ran once, and no layer behind it wrote into its features. In a mixed batch
                that a network runs modality by modality it runs once for each: see :meth:`rows`.
        """
        calls = self._calls_of(name)
        if len(calls) != 1:
            raise RuntimeError(
                f"module {name!r} ran {len(calls)} times while its features were recorded: run the network once inside "
                "the block; a mixed batch that runs modality by modality needs rows()."
            )
        return calls[0][1]

    def rows(self, name: str, modality: Tensor, modalities: Sequence[str]) -> Tensor:
        """What a module put out for a batch of several modalities, with rows in the order of the batch: ``(B, ...)``.

        Args:
            name: of the tap.
            modality: index of each row's modality, int64 ``(B,)``, on the CPU.
            modalities: names in the order of the indices.

        Raises:
            KeyError: for a name that is not tapped.
            RuntimeError: if the module ran neither once for all rows nor once for each modality, or a layer behind it
                wrote into its features.
        """
        calls = self._calls_of(name)
        if len(calls) == 1 and len(calls[0][1]) == len(modality):
            return calls[0][1]
        parts: dict[str | None, Tensor] = dict(calls)
        present = [index for index, known in enumerate(modalities) if known in parts]
        order = torch.cat([(modality == index).nonzero()[:, 0] for index in present]) if present else modality[:0]
        joined = [parts[modalities[index]] for index in present]
        if len(calls) != len(present) or [len(x) for x in joined] != [int((modality == i).sum()) for i in present]:
            ran = [(known, len(output)) for known, output in calls]
            raise RuntimeError(
                f"module {name!r} must run once for all {len(modality)} rows or once for each modality of "
                f"{list(modalities)}, it ran for (modality, rows) {ran}."
            )
        if len(order) != len(modality):
            raise RuntimeError(f"module {name!r} ran for {len(order)} of {len(modality)} rows.")
        features = torch.cat(joined)
        if torch.equal(order, torch.arange(len(order))):
            return features
        return features[order.argsort().to(features.device, non_blocking=True)]

    def _calls_of(self, name: str) -> list[tuple[str | None, Tensor]]:
        if name not in self.modules:
            raise KeyError(f"{name!r} is not tapped, only {list(self.names)} are.")
        calls = self._calls.get(name, [])
        kept = zip(calls, self._versions.get(name, []), strict=True)
        if any(version is not None and _version(output) != version for (_, output), version in kept):
            raise RuntimeError(
                f"what module {name!r} put out was overwritten by a layer behind it that works in place: tap that "
                "layer, or build it with inplace=False."
            )
        return calls


def _version(output: Tensor) -> int | None:
    """How often a tensor was written to, where that is counted."""
    return None if output.is_inference() or torch.compiler.is_compiling() else output._version


def _find(network: nn.Module, name: str) -> nn.Module:
    """The module of a name, also behind wrappers."""
    modules = dict(network.named_modules())
    prefix = ""
    while name and prefix + name not in modules:
        wrapper = next((w for w in WRAPPERS if prefix + w in modules), None)
        if wrapper is None:
            break
        prefix += wrapper + "."
    if name and prefix + name in modules:
        return modules[prefix + name]
    # as one would write them: without what a wrapper added
    known = [key.removeprefix(prefix) for key in modules if key and key + "." != prefix]
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {known[:20]}."
    raise ValueError(f"the network has no module {name!r}: {hint}")
