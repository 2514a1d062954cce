# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Importing the library needs torch, monai, nibabel, ignite and fire only, and has no side effect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OPTIONAL = [
    "PIL",
    "cv2",
    "dcor",
    "itk",
    "jinja2",
    "jsonschema",
    "kornia",
    "matplotlib",
    "mlflow",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "pydicom",
    "rich",
    "scipy",
    "SimpleITK",
    "skimage",
    "sklearn",
    "tensorboard",
    "tensorboardX",
    "torchvision",
    "tqdm",
    "transformers",
    "yaml",
]

# Runs in a process of its own: refuses the packages named on the command line, then imports module after module.
PROBE = """
import importlib, json, logging, sys, traceback

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r} (refused by the test)", name=name)

names, blocked = json.load(sys.stdin)
sys.meta_path.insert(0, Refuse())
import torch, monai, ignite, nibabel, fire, monai.bundle, ignite.handlers
state, threads, handlers = torch.random.get_rng_state(), torch.get_num_threads(), list(logging.getLogger().handlers)
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except BaseException:
        failed[name] = traceback.format_exc(limit=-3)
changed = [what for what, same in {
    "the random state": torch.equal(state, torch.random.get_rng_state()),
    "the number of threads": threads == torch.get_num_threads(),
    "the handlers of the root logger": handlers == logging.getLogger().handlers,
}.items() if not same]
print("RESULT" + json.dumps([failed, changed]))
"""


def modules(repository: Path) -> list[str]:
    """Dotted names of every module of the package, the package itself first."""
    files = sorted((repository / "monai_mmseg").rglob("*.py"))
    names = [".".join(file.relative_to(repository).with_suffix("").parts) for file in files]
    return sorted(name.removesuffix(".__init__") for name in names)


def probe(
    names: list[str], blocked: list[str], folder: Path, repository: Path
) -> tuple[dict[str, str], list[str], str]:
    code = f"import sys; sys.path.insert(0, {str(repository)!r})\n{PROBE}"
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([names, blocked]),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    printed, _, result = run.stdout.partition("RESULT")
    failed, changed = json.loads(result)
    return failed, changed, printed


def test_modules_import_without_the_optional_packages(repository: Path, tmp_path: Path):
    names = modules(repository)
    assert names[0] == "monai_mmseg"

    failed, changed, printed = probe([*names, "rich.table"], OPTIONAL, tmp_path, repository)

    hard = failed.pop("rich.table")  # that the probe notices one
    assert "refused by the test" in hard
    assert not failed, "\n".join(failed.values())
    assert changed == []
    assert printed == ""
    assert list(tmp_path.iterdir()) == []
