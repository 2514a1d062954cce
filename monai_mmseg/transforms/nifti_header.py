# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a NIfTI header says, before a library mends it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_COLOURS, _COMPLEX = (128, 2304), (32, 1792, 2048)  # codes of the standard
DEFLATE_LIMIT = 1100  # gzip makes data smaller by 1032 times at most
_SINGULAR = 1e-4  # of the product of the columns' lengths: what single precision leaves of a zero, and more
_SIZES = (1e-6, 1e4)  # mm: voxels of these sizes exist
_UNITS = {1: "metres", 3: "micrometres"}


def header_problem(head: bytes, size: int, *, packed: bool, pair: bool = False) -> str | None:
    """Why a NIfTI file cannot be used, as far as its header tells; ``None`` if nothing is wrong.

    Libraries replace what is wrong in a header (a voxel size of zero by 1, an sform of NaN by the qform); here it is
    told instead.

    Args:
        head: first bytes of the file, decompressed, :data:`HEADER_BYTES` or more.
        size: of the file, bytes.
        packed: whether the file is compressed.
        pair: whether the voxels lie in a file of their own.

    Returns:
        The rest of a sentence whose first words are the path.

    Examples:
        >>> image = nib.Nifti1Image(np.zeros((4, 4, 3), np.uint8), np.eye(4))
        >>> data = image.to_bytes()
        >>> header_problem(data, len(data), packed=False)
        >>> header_problem(data, len(data) - 1, packed=False)
        'is cut short: its header tells of 400 bytes, 399 are there'
    """
    header = read_header(head)
    if header is None:
        return f"is no NIfTI file, whatever its name says: it begins with {head[:12]!r}"
    shape = [int(value) for value in header["dim"][1 : 1 + max(int(header["dim"][0]), 0)]]
    if not 1 <= len(shape) <= 7 or len(shape) != int(header["dim"][0]) or min(shape) < 1:
        return f"has a broken header: dim is {[int(value) for value in header['dim']]}"
    code = int(header["datatype"])
    if code in _COLOURS or code in _COMPLEX:
        kind = "colours" if code in _COLOURS else "complex numbers"
        return f"holds {kind}; wanted is one real number a voxel"
    if code not in nib.nifti1.data_type_codes.value_set():
        return f"has a broken header: there is no datatype {code}"
    if np.isinf([float(header[name]) for name in ("scl_slope", "scl_inter")]).any():  # taken for no scale
        return f"has a broken header: scl_slope is {header['scl_slope']}, scl_inter {header['scl_inter']}"
    offset, kinds = float(header["vox_offset"]), nib.nifti1.data_type_codes
    voxel: Any = kinds.dtype[code]
    wanted = prod(shape) * int(voxel.itemsize)
    wanted += int(offset) if np.isfinite(offset) and offset > 0 else 0
    if not pair and wanted > size * (DEFLATE_LIMIT if packed else 1):
        return f"is cut short: its header tells of {wanted} bytes, {size} are there"
    return _affine_problem(header, min(len(shape), 3))


def read_header(head: bytes) -> Any:
    """Fields of a NIfTI-1 or NIfTI-2 header as they are stored.

    Args:
        head: first bytes of a file, decompressed.

    Returns:
        The header of nibabel, or ``None`` if these bytes are none.
    """
    if len(head) >= 348 and head[344:348] in (b"n+1\0", b"ni1\0") and _sizes(head, 348):
        return nib.Nifti1Header(head[:348], check=False)
    if len(head) >= 540 and head[4:8] in (b"n+2\0", b"ni2\0") and _sizes(head, 540):
        return nib.Nifti2Header(head[:540], check=False)
    return None


def _sizes(head: bytes, size: int) -> bool:
    return size in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))


def _affine_problem(header: Any, axes: int) -> str | None:
    """The affine that counts and every other one that the header declares must be numbers and have an inverse."""
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    for name, code in (("sform", sform), ("qform", qform)):
        if code not in nib.nifti1.xform_codes.value_set():
            return f"the affine cannot be told: there is no {name}_code {code}"
    if sform > 0:
        matrix = _sform(header)
        if problem := affine_problem(matrix):
            return f"the affine cannot be inverted: its sform (code {sform}) is {matrix.tolist()}; it {problem}"
    sizes = np.array(header["pixdim"][1 : 1 + axes], dtype=np.float64)
    if qform > 0:
        names = [*(f"quatern_{k}" for k in "bcd"), *(f"qoffset_{k}" for k in "xyz")]
        values = np.array([header[name] for name in names], dtype=np.float64)
        if not np.isfinite(values).all() or float((values[:3] ** 2).sum()) > 1.001:
            found = f"its qform (code {qform}) has quaternion and offset {values.tolist()}"
            return f"the affine cannot be inverted: {found}"
    if (qform > 0 or sform <= 0) and affine_problem(np.diag([*np.abs(sizes), *[1.0] * (3 - axes)])):
        return f"the affine cannot be inverted: its voxel sizes (pixdim) are {sizes.tolist()}"
    return None


def _sform(header: Any) -> NDArray[np.float64]:
    return np.array([header["srow_x"], header["srow_y"], header["srow_z"]], dtype=np.float64)


def header_doubts(head: bytes) -> list[str]:
    """What a header contradicts itself in, although it can be used.

    Args:
        head: first bytes of the file, decompressed, :data:`HEADER_BYTES` or more; :func:`header_problem` has none.

    Returns:
        Sentences.

    Examples:
        >>> image = nib.Nifti1Image(np.zeros((4, 4, 3), np.uint8), np.eye(4))
        >>> image.set_qform(np.diag([1, 1, 5, 1]), code=1)
        >>> header_doubts(image.to_bytes())
        ['qform and sform place its corners up to 8 mm apart; the sform counts.']
    """
    header = read_header(head)
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    found = []
    if sform > 0:
        matrix = np.vstack([_sform(header), [0, 0, 0, 1]])
        sizes = np.linalg.norm(matrix[:3, :3], axis=0)
        shape = (*[int(edge) for edge in header["dim"][1 : 1 + min(int(header["dim"][0]), 3)]], 1, 1)[:3]
        told = np.abs(np.array(header["pixdim"][1:4], dtype=np.float64))
        if qform > 0:
            apart = corner_distance(matrix, header.get_qform(), shape)
            if apart > max(0.1 * float(sizes.min()), 0.02):
                found.append(f"qform and sform place its corners up to {apart:.3g} mm apart; the sform counts.")
        elif any(
            0 < told[k] < np.inf  # else not declared
            # a tilted stack may tell the distance of its planes
            and not np.isclose(told[k], [sizes[k], _pitch(matrix, k)], rtol=0.01).any()
            for k in range(3)
            if shape[k] > 1
        ):
            shown = [[float(f"{size:.4g}") for size in each] for each in (told, sizes)]
            found.append(f"its voxel sizes (pixdim) are {shown[0]}, those of its sform {shown[1]}; the sform counts.")
    if unit := _UNITS.get(int(header["xyzt_units"]) & 7):
        found.append(f"its header says that lengths are {unit}; they are taken as mm.")
    return found


def _pitch(matrix: NDArray[np.float64], axis: int) -> float:
    return 1 / float(np.linalg.norm(np.linalg.inv(matrix[:3, :3])[axis]))


def corner_distance(first: ArrayLike, second: ArrayLike, shape: Sequence[int]) -> float:
    """How far two affines place the corners of one volume apart, the farthest corner, mm.

    Args:
        first: voxel to mm, ``(4, 4)``.
        second: the other.
        shape: voxels along three axes.

    Returns:
        The distance.

    Examples:
        >>> corner_distance(np.eye(4), np.diag([1.0, 1.0, 3.0, 1.0]), (4, 4, 11))
        20.0
    """
    corners = np.array([[*(np.array(c) * (np.array(shape) - 1)), 1] for c in np.ndindex(2, 2, 2)]).T
    apart = (np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)) @ corners
    return float(np.linalg.norm(apart[:3], axis=0).max())


def affine_problem(affine: ArrayLike) -> str | None:
    """Why a matrix from voxels to mm cannot place a volume; ``None`` if it can.

    Args:
        affine: three rows or four, three columns or four.

    Returns:
        The reason.

    Examples:
        >>> affine_problem(np.eye(4))
        >>> affine_problem(np.diag([1.0, 0, 1, 1])), affine_problem(np.full((4, 4), np.nan))
        ('has a column of zeros', 'holds NaN or infinity')
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if not np.isfinite(matrix).all():
        return "holds NaN or infinity"
    axes = matrix[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not (lengths > 0).all():
        return "has a column of zeros"
    if abs(np.linalg.det(axes / lengths)) < _SINGULAR:
        return "is singular"
    if not (_SIZES[0] < lengths.min() and lengths.max() < _SIZES[1]):
        return f"has voxels of {' x '.join(f'{length:.3g}' for length in lengths)} mm"
    return None
