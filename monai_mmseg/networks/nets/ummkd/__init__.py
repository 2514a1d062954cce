# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The networks of UMMKD and CSA; import them from :mod:`monai_mmseg.networks.nets`."""
