# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The network at its best validation."""

from __future__ import annotations

import os

from monai.handlers import CheckpointSaver
from torch import nn


class BestModelSaver(CheckpointSaver):
    """MONAI's ``CheckpointSaver`` of the network's plain state, whenever the key metric is the best so far.

    When to use: in ``validate#handlers``. The file loads with ``weights_only=True`` and its keys are those of the
    network, as MONAI's ``ckpt_export`` and :meth:`monai.bundle.load` want it.

    Args:
        save_dir: folder of the file.
        network: what is deployed.
        filename: name of the file.

    Examples:
        In ``validate#handlers``::

            {"_target_": "monai_mmseg.handlers.BestModelSaver", "save_dir": "@ckpt_dir", "network": "@network"}
    """

    def __init__(self, save_dir: str | os.PathLike[str], network: nn.Module, filename: str = "model.pt") -> None:
        super().__init__(os.fspath(save_dir), {"model": network}, save_key_metric=True, key_metric_filename=filename)
