# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""NIfTI files whose headers say anything."""

from __future__ import annotations

import nibabel as nib
import numpy as np

VOXELS = np.random.RandomState(0).randint(0, 900, (6, 5, 4)).astype(np.int16)
AFFINE = np.diag([2.0, 3.0, 8.0, 1.0])


def nifti(**fields: object) -> bytes:
    """A NIfTI file whose header fields are set after the library has seen them."""
    data = bytearray(nib.Nifti1Image(VOXELS, AFFINE).to_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(data[348:])
