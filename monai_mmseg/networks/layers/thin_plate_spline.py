# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Thin-plate splines: interpolation from few points, and warps driven by a grid of control points."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.jit import is_scripting

_EPS = 1e-10  # floor of the squared distance under logarithm and root


def _kernel(squared_distance: Tensor, order: int) -> Tensor:
    floored = squared_distance.clamp(min=_EPS)
    if order == 1:
        return floored.sqrt()
    if order == 2:
        return 0.5 * squared_distance * floored.log()
    if order == 4:
        return 0.5 * squared_distance.square() * floored.log()
    power = floored.pow(0.5 * order)
    return 0.5 * power * floored.log() if order % 2 == 0 else power


def _basis(query: Tensor, points: Tensor, order: int) -> Tensor:
    """Kernels to all points, then the affine part; ``(B, m, n + d + 1)``."""
    squared = (query.unsqueeze(2) - points.unsqueeze(1)).square().sum(-1)
    return torch.cat([_kernel(squared, order), query, torch.ones_like(query[..., :1])], dim=2)


def _system(points: Tensor, order: int, regularization: float) -> Tensor:
    """The symmetric system of the interpolation conditions; ``(B, n + d + 1, n + d + 1)``."""
    n, affine = points.shape[1], points.shape[2] + 1
    upper = _basis(points, points, order)
    diagonal = torch.diag_embed(points.new_full((points.shape[0], n), regularization))
    upper = torch.cat([upper[..., :n] + diagonal, upper[..., n:]], dim=2)
    lower = torch.cat([upper[..., n:].mT, points.new_zeros(points.shape[0], affine, affine)], dim=2)
    return torch.cat([upper, lower], dim=1)


def polyharmonic_spline(
    points: Tensor, values: Tensor, query: Tensor, order: int = 2, regularization: float = 0.0
) -> Tensor:
    """Values of the smooth interpolant through scattered points.

    Use it for scattered data whose points differ from sample to sample; for the fixed grid of a spatial transformer
    :class:`ThinPlateSpline` does the same with the linear system solved once.

    Args:
        points: where the values are known, shape ``(B, n, d)``. They must not all lie on one line (plane for d = 3).
        values: what is known there, shape ``(B, n, c)``.
        query: where to interpolate, shape ``(B, m, d)``.
        order: of the kernel: 1 is ``r``, 2 the thin-plate ``r² log r``, in general ``r^k`` for odd and
            ``r^k log r`` for even k.
        regularization: added to the diagonal; 0 interpolates exactly, more is smoother.

    Returns:
        Interpolated values, shape ``(B, m, c)``. Differentiable in all three tensors.

    Raises:
        ValueError: when shapes or order make no sense.

    Examples:
        >>> points = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]])
        >>> values = points.sum(-1, keepdim=True)  # an affine function is reproduced everywhere
        >>> polyharmonic_spline(points, values, torch.tensor([[[0.5, 0.25]]])).flatten()
        tensor([0.7500])
    """
    if order < 1:
        raise ValueError(f"order must be a positive integer, got {order}.")
    if points.ndim != 3 or values.ndim != 3 or query.ndim != 3 or points.shape[:2] != values.shape[:2]:
        raise ValueError(
            "points, values and query must have the shapes (B, n, d), (B, n, c) and (B, m, d), got "
            f"{tuple(points.shape)}, {tuple(values.shape)} and {tuple(query.shape)}."
        )
    right = torch.cat([values, values.new_zeros(values.shape[0], points.shape[2] + 1, values.shape[2])], dim=1)
    weights = torch.linalg.solve(_system(points, order, regularization), right)
    return _basis(query, points, order) @ weights


def sample_volume(volume: Tensor, coordinates: Tensor) -> Tensor:
    """Linear interpolation of images at given points, with zeros outside.

    Args:
        volume: images, shape ``(B, C, *spatial)``, two or three spatial dimensions.
        coordinates: for each output pixel in row-major order the point to read, shape ``(B, prod(spatial), d)``; in
            the order of the axes, 0 is the centre of the first and 1 that of the last pixel.

    Returns:
        Images of the shape and type of ``volume``. The interpolation itself is done in single precision at least.

    Examples:
        >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> points = torch.tensor([[[0.0, 0.0], [0.0, 0.5], [1.0, 1.0], [5.0, 0.0]]])
        >>> sample_volume(image, points).flatten().tolist()
        [1.0, 1.5, 4.0, 0.0]
    """
    dtype = torch.float64 if volume.dtype == torch.float64 else torch.float32
    # grid_sample wants the last axis first, and -1 ... 1
    grid = (2.0 * coordinates.to(dtype) - 1.0).flip(-1)
    grid = grid.reshape(list(volume.shape[:1]) + list(volume.shape[2:]) + list(grid.shape[-1:]))
    sampled = F.grid_sample(volume.to(dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    sampled = sampled.to(volume.dtype)
    # Sampling lays the channels apart; convolutions want them as they were.
    if volume.dim() == 4 and volume.is_contiguous(memory_format=torch.channels_last):
        return sampled.contiguous(memory_format=torch.channels_last)
    return sampled


def _regular_grid(size: Sequence[int]) -> Tensor:
    """Row-major points of a regular grid over the unit square or cube; ``(prod(size), d)``, float64."""
    axes = [torch.linspace(0, 1, n, dtype=torch.float64) for n in size]
    return torch.stack(torch.meshgrid(axes, indexing="ij"), dim=-1).reshape(-1, len(size))


class ThinPlateSpline(nn.Module):
    """Warp of images by the offsets of a regular grid of control points.

    The coordinates that the spline assigns to the pixels are linear in the offsets. Their matrix depends on the sizes
    only, so it is solved for once, in double precision, and kept as a buffer outside of the state dict: the module has
    no parameters and adds nothing to checkpoints. Zero offsets give the identity.

    Coordinates run from 0 to 1 along each axis, in the order of the axes. The warp is backward: a pixel shows what
    stands at its coordinates in the input; outside of the input there are zeros. Coordinates and sampling are
    kept in single precision under autocast and in half-precision networks.

    Args:
        spatial_size: size of the images, two or three numbers of at least 2. The buffer holds
            ``prod(spatial_size) * prod(num_points)`` numbers.
        num_points: control points along each axis, at least 2.
        order: order of the kernel, see :func:`polyharmonic_spline`.
        regularization: see :func:`polyharmonic_spline`.

    Attributes:
        control_points: the undisturbed grid, row-major, shape ``(n, d)``.

    Raises:
        ValueError: when the sizes make no sense.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417;
        F. L. Bookstein, "Principal warps", IEEE TPAMI 1989, https://doi.org/10.1109/34.24792.

    Examples:
        >>> spline = ThinPlateSpline((8, 8))
        >>> image = torch.arange(64.0).reshape(1, 1, 8, 8)
        >>> down = torch.tensor([1 / 7, 0.0]).expand(1, 25, 2)  # read one row further down
        >>> spline(image, down)[0, 0, :, 0].round().tolist()
        [8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 56.0, 0.0]
    """

    control_points: Tensor
    identity: Tensor
    matrix: Tensor

    def __init__(
        self,
        spatial_size: Sequence[int],
        num_points: Sequence[int] = (5, 5),
        order: int = 2,
        *,
        regularization: float = 0.0,
    ) -> None:
        super().__init__()
        if len(spatial_size) not in (2, 3) or min(spatial_size) < 2:
            raise ValueError(f"spatial_size must be two or three numbers of at least 2, got {tuple(spatial_size)}.")
        if len(num_points) != len(spatial_size) or min(num_points) < 2:
            raise ValueError(
                f"num_points must be {len(spatial_size)} numbers of at least 2, one for each axis of spatial_size, "
                f"got {tuple(num_points)}."
            )
        if order < 1:
            raise ValueError(f"order must be a positive integer, got {order}.")
        self.spatial_size = [int(n) for n in spatial_size]
        self.num_points = [int(n) for n in num_points]
        self.order = int(order)
        self.regularization = float(regularization)
        for name, value in self._constants().items():
            self.register_buffer(name, value.to(torch.float32), persistent=False)

    def _constants(self) -> dict[str, Tensor]:
        points, query = _regular_grid(self.num_points), _regular_grid(self.spatial_size)
        # the system is symmetric, so its transpose need not be formed
        system = _system(points[None], self.order, self.regularization)[0]
        matrix = torch.linalg.solve(system, _basis(query[None], points[None], self.order)[0].mT)[: len(points)].mT
        return {"control_points": points, "identity": query, "matrix": matrix.contiguous()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ThinPlateSpline":
        """Move the buffers; refine them for double, and keep them in single precision for half."""
        before = self.matrix.dtype
        super()._apply(fn, recurse)
        if self.matrix.dtype != before and not self.matrix.is_meta:
            dtype = torch.promote_types(self.matrix.dtype, torch.float32)
            for name, value in self._constants().items():
                setattr(self, name, value.to(device=self.matrix.device, dtype=dtype))
        return self

    def coordinates(self, offsets: Tensor) -> Tensor:
        """Where each pixel reads from, in row-major order, shape ``(B, prod(spatial_size), d)``.

        Args:
            offsets: displacement of each control point, shape ``(B, n, d)``; 1 is the whole extent of the image.

        Raises:
            ValueError: when the number of points or axes is wrong.
        """
        if list(offsets.shape[1:]) != list(self.control_points.shape):
            raise ValueError(
                f"offsets must have the shape (B, n, d) with {list(self.control_points.shape)} for (n, d), "
                f"got {list(offsets.shape)}."
            )
        # the matrix maps the grid itself onto the pixels, so only the offsets need to pass through it: what is left of
        # a product in half precision is then an error relative to the offsets, not to the image
        # one product for the batch, not one a row
        moved = self._displacements(offsets.to(self.matrix.dtype).transpose(1, 2).flatten(0, 1))
        return self.identity + moved.unflatten(0, [offsets.shape[0], offsets.shape[2]]).transpose(1, 2)

    def _displacements(self, rows: Tensor) -> Tensor:
        """Displacement of every pixel along one axis, from those of the control points along it."""
        # nested, because TorchScript must not see the inner call, which it knows without arguments only
        if not is_scripting():  # noqa: SIM102
            if torch.is_autocast_enabled(rows.device.type):
                with torch.autocast(rows.device.type, enabled=False):
                    return torch.matmul(rows, self.matrix.mT)
        return torch.matmul(rows, self.matrix.mT).to(self.identity.dtype)

    def forward(self, volume: Tensor, offsets: Tensor) -> Tensor:
        """Warped images, of the shape and type of ``volume``.

        Args:
            volume: images, shape ``(B, C, *spatial_size)``.
            offsets: displacement of each control point, shape ``(B, n, d)``.

        Raises:
            ValueError: when a shape is wrong.
        """
        if list(volume.shape[2:]) != self.spatial_size:
            raise ValueError(f"volume must have the spatial size {self.spatial_size}, got {list(volume.shape[2:])}.")
        return sample_volume(volume, self.coordinates(offsets))

    def extra_repr(self) -> str:
        """Settings for ``print(module)``."""
        return (
            f"spatial_size={tuple(self.spatial_size)}, num_points={tuple(self.num_points)}, order={self.order}, "
            f"regularization={self.regularization}"
        )
