# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classes of this project's data sets, as integer value to name; readers of public sets and the phantom share them."""

ABDOMEN_LABELS = {0: "background", 1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
BTCV_LABELS = {
    **ABDOMEN_LABELS,
    5: "gallbladder",
    6: "oesophagus",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}

CARDIAC_LABELS = {0: "background", 1: "LV myocardium", 2: "left atrium", 3: "LV blood", 4: "ascending aorta"}
WHOLE_HEART_LABELS = {**CARDIAC_LABELS, 5: "right atrium", 6: "RV blood", 7: "pulmonary artery"}

HEART_LABELS = {0: "background", 1: "LV", 2: "myocardium", 3: "RV"}
TUMOUR_LABELS = {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing tumour"}
