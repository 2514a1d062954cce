# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Transforms for slices and volumes of several modalities; each is usable alone in any MONAI pipeline."""

from monai_mmseg.transforms.adjacent_slices import AdjacentSlices, AdjacentSlicesd
from monai_mmseg.transforms.affine_slices import RandAffineSlicesd, affine_slices
from monai_mmseg.transforms.annotated_classes import AsAnnotatedClassesd
from monai_mmseg.transforms.batch_augmentation import SliceAugmentation
from monai_mmseg.transforms.by_modality import ByModalityd, RandByModalityd
from monai_mmseg.transforms.convolution_intensity import (
    RandConvolutionIntensity,
    RandConvolutionIntensityd,
    convolution_intensity,
)
from monai_mmseg.transforms.dicom_series import DicomSeries, DicomVolume, list_series, read_dicom_series
from monai_mmseg.transforms.drop_modality import RandDropModalityd
from monai_mmseg.transforms.foreground_window import ForegroundPlacesd, RandForegroundWindowd
from monai_mmseg.transforms.geometry import find_slice_axis, slice_orientation, slice_pitch, tilt_between
from monai_mmseg.transforms.image_files import VolumeError
from monai_mmseg.transforms.intensity import ScaleIntensitySlices, ScaleIntensitySlicesd, scale_intensity
from monai_mmseg.transforms.intensity_maps import random_intensity_maps
from monai_mmseg.transforms.load_item import LoadImageItemd
from monai_mmseg.transforms.load_modalities import LoadImageModalitiesd
from monai_mmseg.transforms.normalize_foreground import ForegroundIntensityd, NormalizeForeground, NormalizeForegroundd
from monai_mmseg.transforms.normalize_slices import NormalizeIntensitySlices, NormalizeIntensitySlicesd
from monai_mmseg.transforms.orient_slices import OrientSlices, OrientSlicesd
from monai_mmseg.transforms.pair_slices import (
    SlicePairs,
    candidate_slices,
    candidate_window,
    pair_slices,
    pairs_from_table,
    random_pairing,
)
from monai_mmseg.transforms.random_appearance import RandAppearanced, appearance_transforms
from monai_mmseg.transforms.read_volume import read_volume
from monai_mmseg.transforms.resample_modalities import ResampleModalitiesd
from monai_mmseg.transforms.scale_shift_foreground import RandScaleShiftForegroundd
from monai_mmseg.transforms.slice_grid import ToSliceGridd
from monai_mmseg.transforms.slice_window import RandSliceWindow, RandSliceWindowd
from monai_mmseg.transforms.spacing import SafeSpacingd, SpacingInPlaned
from monai_mmseg.transforms.split_modality import SplitModalityd
from monai_mmseg.transforms.stack_modalities import StackModalitiesd

__all__ = [
    "AdjacentSlices",
    "AdjacentSlicesd",
    "AsAnnotatedClassesd",
    "ByModalityd",
    "DicomSeries",
    "DicomVolume",
    "ForegroundIntensityd",
    "ForegroundPlacesd",
    "LoadImageItemd",
    "LoadImageModalitiesd",
    "NormalizeForeground",
    "NormalizeForegroundd",
    "NormalizeIntensitySlices",
    "NormalizeIntensitySlicesd",
    "OrientSlices",
    "OrientSlicesd",
    "RandAffineSlicesd",
    "RandAppearanced",
    "RandByModalityd",
    "RandConvolutionIntensity",
    "RandConvolutionIntensityd",
    "RandDropModalityd",
    "RandForegroundWindowd",
    "RandScaleShiftForegroundd",
    "RandSliceWindow",
    "RandSliceWindowd",
    "ResampleModalitiesd",
    "SafeSpacingd",
    "ScaleIntensitySlices",
    "ScaleIntensitySlicesd",
    "SliceAugmentation",
    "SlicePairs",
    "SpacingInPlaned",
    "SplitModalityd",
    "StackModalitiesd",
    "ToSliceGridd",
    "VolumeError",
    "affine_slices",
    "appearance_transforms",
    "candidate_slices",
    "candidate_window",
    "convolution_intensity",
    "find_slice_axis",
    "list_series",
    "pair_slices",
    "pairs_from_table",
    "random_intensity_maps",
    "random_pairing",
    "read_dicom_series",
    "read_volume",
    "scale_intensity",
    "slice_orientation",
    "slice_pitch",
    "tilt_between",
]
