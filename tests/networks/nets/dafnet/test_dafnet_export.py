# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The exporters of `monai.bundle` on DAFNet."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export, verify_net_in_out

from monai_mmseg.networks.nets import DAFNet
from tests.networks.network_tester import perturb

SETTINGS = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 3,
    "modalities": ["cine", "lge"],
    "target": "lge",
    "spatial_size": [32, 32],
    "anatomy_channels": 4,
    "features": [4, 6, 8],
    "segmentor_features": 6,
}
VARIANTS = {
    "fused": {},
    "candidates": {"num_candidates": 2, "modality_norm": True},
    "soft": {"binarise": "none"},
    "deformed": {"inference": "deformed", "binarise": "argmax", "max_offset": 0.2},
}


FUSED_ALONE = pytest.mark.parametrize(
    "bundle",
    ["fused", *[pytest.param(name, marks=pytest.mark.overlays) for name in VARIANTS if name != "fused"]],
    indirect=True,
)


@pytest.fixture(params=VARIANTS)
def bundle(request, tmp_path):
    """A config, a checkpoint and the network they describe."""
    settings = {**SETTINGS, **VARIANTS[request.param]}
    network = perturb(DAFNet(**settings), 0.05).eval()
    with torch.no_grad():
        network.anatomy_encoders.expanding.out.conv.weight.mul_(30)
    channels = network.num_modalities * network.num_candidates
    value = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": channels,
        "spatial_shape": [32, 32],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(index): str(index) for index in range(channels)},
    }
    metadata = {"network_data_format": {"inputs": {"image": value}, "outputs": {"pred": {**value, "num_channels": 3}}}}
    config = {"network_def": {"_target_": "monai_mmseg.networks.nets.DAFNet", **settings}}
    for name, content in (("metadata.json", metadata), ("inference.json", config)):
        (tmp_path / name).write_text(json.dumps(content))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return network, tmp_path


def arguments(folder, with_checkpoint=True):
    files = {"meta_file": str(folder / "metadata.json"), "config_file": str(folder / "inference.json")}
    return {**files, "ckpt_file": str(folder / "model.pt")} if with_checkpoint else files


def inputs(network):
    """Complete; without the first modality; without the target."""
    image = torch.rand(3, network.num_modalities * network.num_candidates, 32, 32) * 2 - 1
    image[1, : network.num_candidates] = float("nan")
    image[2, network.num_candidates :] = float("nan")
    return image


def test_verify_net_in_out(bundle):
    _, folder = bundle
    verify_net_in_out("network_def", **arguments(folder, with_checkpoint=False))


def test_ckpt_export(bundle):
    network, folder = bundle
    ckpt_export("network_def", str(folder / "model.ts"), **arguments(folder))
    image = inputs(network)
    exported = torch.jit.load(folder / "model.ts")
    torch.testing.assert_close(exported(image), network(image), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
def test_ckpt_export_traced(bundle):
    network, folder = bundle
    ckpt_export("network_def", str(folder / "model.ts"), use_trace=True, **arguments(folder))
    image = inputs(network)[1:2]  # a trace keeps the batch size
    exported = torch.jit.load(folder / "model.ts")
    torch.testing.assert_close(exported(image), network(image), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@FUSED_ALONE
def test_onnx_export(bundle):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network, folder = bundle
    onnx_export("network_def", str(folder / "model.onnx"), **arguments(folder))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for image in inputs(network).split(1):
        output = session.run(None, {name: image.numpy()})[0]
        np.testing.assert_allclose(output, network(image).detach().numpy(), atol=1e-3, rtol=1e-3)
