# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From a data set to a bundle that is set up for it: fingerprint, situation, rules, writing."""

from monai_mmseg.planning.agreement import best_shift, mutual_information
from monai_mmseg.planning.context import Context, seconds_of
from monai_mmseg.planning.fingerprint import fingerprint
from monai_mmseg.planning.plan import PLAN, Plan, make_plan
from monai_mmseg.planning.rules import RULES, Fired, Rule, apply_rules
from monai_mmseg.planning.situation import (
    METHODS,
    PlanError,
    Situation,
    choose_method,
    find_situation,
    possible_methods,
)
from monai_mmseg.planning.write import write_bundle

__all__ = [
    "METHODS",
    "PLAN",
    "RULES",
    "Context",
    "Fired",
    "Plan",
    "PlanError",
    "Rule",
    "Situation",
    "apply_rules",
    "best_shift",
    "choose_method",
    "find_situation",
    "fingerprint",
    "make_plan",
    "mutual_information",
    "possible_methods",
    "seconds_of",
    "write_bundle",
]
