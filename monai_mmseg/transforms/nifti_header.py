# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a NIfTI header says, before a library mends it."""

from __future__ import annotations

from math import prod
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_COLOURS, _COMPLEX = (128, 2304), (32, 1792, 2048)  # codes of the standard
DEFLATE_LIMIT = 1100  # gzip makes data smaller by 1032 times at most
_SINGULAR = 1e-6  # of the product of the columns' lengths: what single precision leaves of a zero


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
    if sform > 0:
        matrix = np.array([header["srow_x"], header["srow_y"], header["srow_z"]], dtype=np.float64)
        if not invertible(matrix):
            return f"the affine cannot be inverted: its sform (code {sform}) is {matrix.tolist()}"
    sizes = np.array(header["pixdim"][1 : 1 + axes], dtype=np.float64)
    if qform > 0:
        names = [*(f"quatern_{k}" for k in "bcd"), *(f"qoffset_{k}" for k in "xyz")]
        values = np.array([header[name] for name in names], dtype=np.float64)
        if not np.isfinite(values).all() or float((values[:3] ** 2).sum()) > 1.001:
            found = f"its qform (code {qform}) has quaternion and offset {values.tolist()}"
            return f"the affine cannot be inverted: {found}"
    if (qform > 0 or sform <= 0) and not (np.isfinite(sizes).all() and (sizes != 0).all()):
        return f"the affine cannot be inverted: its voxel sizes (pixdim) are {sizes.tolist()}"
    return None


def invertible(affine: NDArray[np.float64]) -> bool:
    """Whether a matrix from voxels to mm, three rows or four, holds numbers and has an inverse.

    Args:
        affine: ``(3, 4)`` or ``(4, 4)``.

    Returns:
        The answer.

    Examples:
        >>> invertible(np.eye(4)), invertible(np.diag([1.0, 0, 1, 1])), invertible(np.full((4, 4), np.nan))
        (True, False, False)
    """
    if not np.isfinite(affine).all():
        return False
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    return bool((lengths > 0).all() and abs(np.linalg.det(axes / lengths)) > _SINGULAR)
