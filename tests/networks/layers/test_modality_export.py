# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the untouched network can be exported to, its specialised conversion can: the same way, with the same result."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export

from monai_mmseg.networks.layers import convert_modality_norm, specialize
from tests.networks.layers.modality_zoo import image_of, pair

NAMES = ["UNet-batch-2d", "BasicUNet-2d", "SegResNet-3d", "DynUNet-3d"]
SLOW = [
    "AttentionUnet-2d",
    "VNet-2d",
    "SwinUNETR-2d",
    "FlexibleUNet-2d",
    "MedNeXt-2d",
    "foreign-2d",
    "DynUNet-supervised-2d",
]
pytestmark = [  # of MONAI's DynUNet, which keeps maps of its last forward pass; nothing of them is in the export
    pytest.mark.filterwarnings("ignore:The tensor attributes? self:UserWarning"),
    pytest.mark.filterwarnings("ignore:The TorchScript type system doesn't support:UserWarning"),
]
EVERY = pytest.mark.parametrize(
    "name", [*NAMES, *[pytest.param(name, marks=[pytest.mark.slow, pytest.mark.overlays]) for name in SLOW]]
)


@pytest.fixture
def case(name):
    """A specialised network, the plain one that it must equal, an image."""
    network, references = pair(name)
    return specialize(network, "mr").eval(), references["mr"].eval(), image_of(name, 2)


@EVERY
@torch.no_grad()
def test_torch_export(case):
    special, reference, image = case
    outputs = [torch.export.export(network, (image,)).module()(image) for network in (special, reference)]
    assert torch.equal(*outputs)


@EVERY
@torch.no_grad()
def test_torchscript(case):
    special, reference, image = case
    try:
        expected = torch.jit.script(reference)(image)
    except (RuntimeError, TypeError, OSError) as error:
        pytest.skip(f"the untouched network has no TorchScript: {str(error)[:60]}")
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(special), file)
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [NAMES[0], *[pytest.param(name, marks=pytest.mark.overlays) for name in (*NAMES[1:], *SLOW)]]
)
@torch.no_grad()
def test_onnx(case):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    special, reference, image = case
    outputs = []
    for network in (special, reference):
        program = torch.onnx.export(network, (image,), dynamo=True, verbose=False)
        session = runtime.InferenceSession(program.model_proto.SerializeToString())
        outputs.append(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_allclose(outputs[0], special(image).numpy(), rtol=1e-2, atol=1e-3)


@torch.no_grad()
def test_checkpoint_of_a_bundle(tmp_path):
    """`ckpt_export` builds the untouched network and loads the specialised weights."""
    settings = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 8], "strides": [2, 2]}
    config = {"network_def": {"_target_": "monai.networks.nets.UNet", **settings, "num_res_units": 1, "norm": "batch"}}
    network, references = pair("UNet-batch-2d")
    torch.save(specialize(network, "us").state_dict(), tmp_path / "us.pt")
    (tmp_path / "inference.json").write_text(json.dumps(config))
    (tmp_path / "metadata.json").write_text("{}")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "us.ts"),
        ckpt_file=str(tmp_path / "us.pt"),
        meta_file=str(tmp_path / "metadata.json"),
        config_file=str(tmp_path / "inference.json"),
        key_in_ckpt="",
    )
    image = image_of("UNet-batch-2d")
    torch.testing.assert_close(
        torch.jit.load(tmp_path / "us.ts")(image), references["us"].eval()(image), rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_converted_network_exports_for_its_default_modality():
    network, references = pair("UNet-batch-2d", default_modality="us")
    image = image_of("UNet-batch-2d")
    network.eval()
    expected = references["us"].eval()(image)
    assert torch.equal(torch.export.export(network, (image,)).module()(image), expected)
    assert torch.equal(torch.jit.trace(network, (image,))(image), expected)


@torch.no_grad()
def test_specialised_state_is_that_of_the_plain_class():
    network, references = pair("SegResNet-3d")
    plain = references["ct"]
    plain.load_state_dict(specialize(network, "us").state_dict(), strict=True)
    image = image_of("SegResNet-3d")
    assert torch.equal(plain.eval()(image), network.eval()(image, "us"))
    again = convert_modality_norm(plain, ["us"])
    assert torch.equal(again.eval()(image), network(image, "us"))
