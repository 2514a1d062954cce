# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Figures: predictions, anatomies, reconstructed and aligned images, latent spaces, missing modalities, sheets."""

from monai_mmseg.visualize.affinity import affinity_figure, class_feature_figure
from monai_mmseg.visualize.alignment import AlignmentPair, alignment_figure
from monai_mmseg.visualize.anatomy import anatomy_figure
from monai_mmseg.visualize.embedding import EmbeddingPanel, embedding_figure
from monai_mmseg.visualize.figure import LABEL_COLORS, label_color, save_figure
from monai_mmseg.visualize.knowledge import distillation_curve_figure, knowledge_figure, weight_boxes_figure
from monai_mmseg.visualize.overlay import Case, best_median_worst, overlay_figure
from monai_mmseg.visualize.reconstruction import cross_reconstruction_figure
from monai_mmseg.visualize.sheet import Thumbnail, contact_sheet
from monai_mmseg.visualize.subsets import SubsetBlock, subset_figure
from monai_mmseg.visualize.traversal import traversal_figure
from monai_mmseg.visualize.volume import DisplayVolume, read_for_display

__all__ = [
    "LABEL_COLORS",
    "AlignmentPair",
    "Case",
    "DisplayVolume",
    "EmbeddingPanel",
    "SubsetBlock",
    "Thumbnail",
    "affinity_figure",
    "alignment_figure",
    "anatomy_figure",
    "best_median_worst",
    "class_feature_figure",
    "contact_sheet",
    "cross_reconstruction_figure",
    "distillation_curve_figure",
    "embedding_figure",
    "knowledge_figure",
    "label_color",
    "overlay_figure",
    "read_for_display",
    "save_figure",
    "subset_figure",
    "traversal_figure",
    "weight_boxes_figure",
]
