# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose kernel is a mixture of experts that depends on the modality."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Routing = Literal["table", "scalar"]
ConditionalConvInit = Literal["plain", "xavier"]
CONVOLUTION = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class ConditionalConv(nn.Module):
    r"""Convolution with a kernel for each modality, mixed from a few expert kernels that all modalities share.

    Use it where one network serves several modalities and plain shared kernels are too stiff: modality m is convolved
    with :math:`\sum_k \beta_{mk} W_k`, where the weights :math:`\beta_m` between 0 and 1 are learned. One kernel a
    modality is mixed in a call, however many images there are.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_modalities: M.
        kernel_size: edge of the kernels.
        stride: of the convolution.
        padding: zeros on each side.
        groups: of channels.
        num_experts: kernels that are mixed.
        bias: one for all modalities; it is not mixed.
        routing: ``"table"``: a weight for each modality and expert, through a sigmoid; ``"scalar"``: the sigmoid of a
            linear function of the modality's number 1 … M, as in the original code, which treats modalities as ordered.
        init: ``"plain"``: mixed kernels have the variance that PyTorch gives a convolution; ``"xavier"``: as the
            original code, whose kernels are several times too small for a signal to come through many layers.

    Raises:
        ValueError: if an argument is not possible.

    Reference:
        Yang et al., "CondConv: conditionally parameterized convolutions for efficient inference", NeurIPS 2019,
        arXiv:1904.04971; driven by the modality: Ouyang et al., IPMI 2021, arXiv:2102.11456, whose equation reads as if
        the sigmoid stood around the convolution; their code has it on the weights, as here.

    Examples:
        >>> conv = ConditionalConv(2, 3, 8, num_modalities=4, padding=1)
        >>> conv(torch.rand(2, 3, 16, 16), 1).shape, conv(torch.rand(3, 3, 16, 16), torch.tensor([2, 0, 2])).shape
        (torch.Size([2, 8, 16, 16]), torch.Size([3, 8, 16, 16]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        num_modalities: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        num_experts: int = 3,
        bias: bool = True,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
    ) -> None:
        super().__init__()
        if spatial_dims not in CONVOLUTION:
            raise ValueError(f"spatial_dims must be 1, 2 or 3, got {spatial_dims}.")
        if min(num_modalities, num_experts, groups) < 1:
            raise ValueError(
                "num_modalities, num_experts and groups must be at least 1, got "
                f"{num_modalities}, {num_experts} and {groups}."
            )
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide {in_channels} and {out_channels} channels, got {groups}.")
        if routing not in ("table", "scalar"):
            raise ValueError(f"routing must be 'table' or 'scalar', got {routing!r}.")
        if init not in ("plain", "xavier"):
            raise ValueError(f"init must be 'plain' or 'xavier', got {init!r}.")
        self.spatial_dims, self.in_channels, self.out_channels = spatial_dims, in_channels, out_channels
        self.num_modalities, self.num_experts, self.routing = num_modalities, num_experts, str(routing)
        self.kernel_size, self.stride, self.padding, self.groups = kernel_size, stride, padding, groups
        shape = (num_experts, out_channels, in_channels // groups, *[kernel_size] * spatial_dims)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        if routing == "table":
            self.route = nn.Parameter(torch.zeros(num_modalities, num_experts))
        else:
            self.route_weight = nn.Parameter(torch.empty(num_experts, 1))
            self.route_bias = nn.Parameter(torch.empty(num_experts))
        self.reset_parameters(init)

    @torch.no_grad()
    def reset_parameters(self, init: ConditionalConvInit = "plain") -> None:
        """Sample all parameters anew."""
        if self.routing == "table":
            self.route.normal_()
        else:  # those of a linear layer with one input
            self.route_weight.uniform_(-1, 1)
            self.route_bias.uniform_(-1, 1)
        if init == "xavier":
            nn.init.xavier_normal_(self.weight)
            if self.bias is not None:
                self.bias.zero_()
            return
        fan_in = math.prod(self.weight.shape[2:])
        # experts are independent: the variance of a mixture is that of one times the sum of the squared weights
        spread = self.mixture().square().sum(1).mean().sqrt()
        bound = 1 / math.sqrt(fan_in)
        self.weight.uniform_(-bound, bound).div_(spread)
        if self.bias is not None:
            self.bias.uniform_(-bound, bound)

    def mixture(self) -> Tensor:
        r"""Weights :math:`\beta` of the experts in every modality, shape ``(M, num_experts)``."""
        if self.routing == "table":
            return self.route.sigmoid()
        numbers = torch.arange(1, self.num_modalities + 1, device=self.weight.device, dtype=self.weight.dtype)
        return (numbers[:, None] * self.route_weight[:, 0] + self.route_bias).sigmoid()

    def kernels(self) -> Tensor:
        """Mixed kernels of all modalities, shape ``(M, out_channels, in_channels / groups, *kernel_size)``."""
        return torch.stack(self._mixed())

    def _mixed(self) -> list[Tensor]:
        """The mixed kernels, each in the memory format of the experts."""
        # a flat matrix in the order in which experts lie in memory: nothing is copied, forward or backward
        last = not self.weight.is_contiguous()
        experts = self.weight.movedim(2, -1) if last else self.weight
        mixed = (self.mixture() @ experts.flatten(1)).unflatten(1, experts.shape[1:]).unbind()
        return [kernel.movedim(-1, 1) if last else kernel for kernel in mixed]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ConditionalConv:
        """Move or convert all parameters; a memory format is that of each expert's kernel."""

        def each(tensor: Tensor) -> Tensor:
            if tensor.ndim != self.spatial_dims + 3:
                return fn(tensor)
            return fn(tensor.flatten(0, 1)).unflatten(0, tensor.shape[:2])

        return super()._apply(each, recurse)

    def forward(self, x: Tensor, modality: int | Sequence[int] | Tensor) -> Tensor:
        """Each row convolved with the kernel of its modality, shape ``(N, out_channels, *spatial)``.

        Args:
            x: shape ``(N, in_channels, *spatial)``.
            modality: index of the modality of all rows, or of each row (list, or integer tensor ``(N,)`` on the CPU).
                Rows in the order 0, 1, …, M - 1, 0, 1, … are one grouped convolution; rows sorted by modality
                are not copied.

        Raises:
            ValueError: for an index that is no modality or no whole number, or another number of rows.
        """
        rows = x.shape[0]
        if isinstance(modality, Tensor) and (modality.is_floating_point() or modality.dtype == torch.bool):
            raise ValueError(f"modality must hold whole numbers, got {modality.dtype}.")  # bool is `present`, no index
        if isinstance(modality, Tensor):
            modality = modality.tolist()
        given = [modality] * rows if isinstance(modality, int) else list(modality)  # 0.5 is not 0
        index = [int(m) for m in given]
        if len(index) != rows or index != given or any(not 0 <= m < self.num_modalities for m in index):
            raise ValueError(
                f"modality must be one index below {self.num_modalities} or one for each of {rows} rows, got "
                f"{modality}."
            )
        kernels = self._mixed()
        if len(set(index)) == 1:
            return self._convolve(x, kernels[index[0]], self.bias, self.groups)
        count = self.num_modalities
        if rows % count == 0 and index == list(range(count)) * (rows // count):
            bias = None if self.bias is None else self.bias.repeat(count)
            stacked = x.reshape(rows // count, count * x.shape[1], *x.shape[2:])
            found = self._convolve(stacked, torch.cat(kernels), bias, count * self.groups)
            return found.reshape(rows, self.out_channels, *found.shape[2:])
        modalities = sorted(set(index))
        counts = [index.count(m) for m in modalities]
        order = sorted(range(rows), key=index.__getitem__)
        ordered = order == list(range(rows))
        chunks = (x if ordered else x[order]).split(counts)
        found = torch.cat(
            [
                self._convolve(part, kernels[m], self.bias, self.groups)
                for part, m in zip(chunks, modalities, strict=True)
            ]
        )
        return found if ordered else found[torch.tensor(order).argsort().to(x.device, non_blocking=True)]

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        return CONVOLUTION[self.spatial_dims](x, kernel, bias, self.stride, self.padding, 1, groups)

    def extra_repr(self) -> str:
        """Settings for ``print(module)``."""
        return (
            f"{self.in_channels}, {self.out_channels}, num_modalities={self.num_modalities}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, groups={self.groups}, "
            f"num_experts={self.num_experts}, bias={self.bias is not None}, routing={self.routing!r}"
        )
