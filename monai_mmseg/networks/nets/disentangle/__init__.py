# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Disentanglement, and the networks behind its anatomies; import them from :mod:`monai_mmseg.networks.nets`."""
