# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a planned bundle says about itself: its page and its metadata."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from monai_mmseg.names import short_text
from monai_mmseg.planning.context import Context
from monai_mmseg.planning.rules import Fired
from monai_mmseg.planning.situation import METHODS

LONG = 60  # characters of a value that a table shows


def shown(value: Any) -> str:
    """A value as a table has it: short, components by their name.

    Examples:
        >>> shown([64, 64]), shown({"_target_": "DynUNet", "strides": [[1]]})
        ('[64, 64]', 'DynUNet')
    """
    if isinstance(value, dict) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return ", ".join(shown(one) for one in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return short_text(text, LONG)


def about(context: Context, name: str) -> dict[str, Any]:
    """Entries of the metadata that are about the data.

    Args:
        context: with all knobs.
        name: of the bundle.
    """
    data, situation = str(context.fingerprint["name"]), context.situation
    classes = [one for value, one in context.fingerprint["labels"].items() if value != "0"]
    images = ", ".join(situation.modalities)
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": "planned"},
        "name": name,
        "task": f"Segmentation of {', '.join(classes)} in {images}",
        "description": f"{METHODS[context.method]}; planned by monai_mmseg for {data} ({situation.name})",
        "data_source": data,
        "image_classes": images,
        "label_classes": f"single channel: {', '.join(f'{n + 1} {one}' for n, one in enumerate(classes))}",
        "pred_classes": f"{len(classes) + 1} channels: background, {', '.join(classes)}",
        "intended_use": "Research; not for diagnosis",
    }


def readme(context: Context, fired: Sequence[Fired], name: str, reason: str) -> str:
    """Text of ``docs/README.md``.

    Args:
        context: with all knobs.
        fired: the rules that set them.
        name: of the bundle's folder.
        reason: of the method.
    """
    situation = context.situation
    train = "python -m monai.bundle run training --config_file"
    stage = f"{train} {_quoted(name, 'stage_one/configs/train.json')}\n" if context.method == "disentangle" else ""
    facts = "\n".join(f"- {key}: {text}" for key, text in situation.facts.items())
    rows = "\n".join(f"| {one.name} | `{one.knob}` | `{shown(one.value)}` | {one.reason} |" for one in fired)
    return f"""# {name}

Planned by `mmseg plan` for the data set {context.fingerprint["name"]}: **{situation.name}**.

{facts}

Method: **{context.method}**, {METHODS[context.method]}. Why: {reason}.

[method.md](method.md) describes the bundle that the plan started from, there with other data and settings; it says
which exports (TorchScript, ONNX, TensorRT) work.

## Run it

```bash
{stage}{train} {_quoted(name, "configs/train.json")}
python -m monai.bundle run evaluating --config_file "['{name}/configs/train.json','{name}/configs/evaluate.json']"
mmseg predict {_quoted(name)} NEW --out OUT
```

## Why these settings

| rule | knob | value | reason |
| --- | --- | --- | --- |
{rows}

`plan.json` has all of it, with what was measured of the data and of the machine.
"""


def _quoted(*parts: str) -> str:
    return shlex.quote("/".join(parts))
