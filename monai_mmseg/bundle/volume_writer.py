# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Label volumes stay volumes, also those of one slice, and are whole or not there."""

from __future__ import annotations

import os
from typing import Any

import nibabel as nib
from monai.data import NibabelWriter

from monai_mmseg.files import atomic_path, place_nifti


class VolumeWriter(NibabelWriter):
    """Writes NIfTI files that have three axes at least, each under its name only when it is whole.

    Use it as ``writer`` of MONAI's ``SaveImage``, whose own writer takes every axis of length one off the end: the
    label volume of a single slice then has two axes where its image has three. And a process that is killed while it
    writes leaves no file that looks like a prediction. A sheared affine stands in the sform alone.

    Examples:
        >>> import torch
        >>> writer = VolumeWriter()
        >>> writer.set_data_array(torch.zeros(1, 8, 8, 1))
        >>> tuple(writer.data_obj.shape)
        (8, 8, 1)
    """

    data_obj: Any
    failure: OSError | None = None
    """What the system said last; MONAI's ``SaveImage`` says that a package is missing."""

    def set_data_array(
        self, data_array: Any, channel_dim: int | None = 0, squeeze_end_dims: bool = True, **kwargs: Any
    ) -> None:
        """Take the voxels, channel first unless ``channel_dim`` says otherwise.

        Args:
            data_array: the voxels.
            channel_dim: axis of the channels; ``None``: there is none.
            squeeze_end_dims: drop a single channel.
            **kwargs: for MONAI's writer.
        """
        super().set_data_array(data_array, channel_dim=channel_dim, squeeze_end_dims=squeeze_end_dims, **kwargs)
        while self.data_obj.ndim < 3:
            self.data_obj = self.data_obj[..., None]

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **kwargs: Any) -> None:
        """Write the file under another name and rename it.

        Args:
            filename: the file; one of this name is replaced.
            verbose: print what is done.
            **kwargs: for MONAI's writer.
        """
        try:
            with atomic_path(filename) as part:
                super().write(part, verbose=verbose, **kwargs)
                place_nifti(self.data_obj, self.data_obj.affine)
                if not self.data_obj.header["qform_code"]:  # MONAI has declared one that does not hold the affine
                    nib.save(self.data_obj, part)
        except OSError as error:
            type(self).failure = error
            raise
