# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import socket

import pytest
import torch

from tests.objectives.distributed_worker import CASES, gradients, make_batch, make_objective, work
from tests.processes import start_processes


@pytest.fixture(scope="module")
def on_two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(work, (port, str(folder)))
    return torch.load(folder / "gradients.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_gradients_of_one_with_the_joined_batch(case, on_two_processes):
    found = on_two_processes[case]
    expected = gradients(make_objective(), make_batch(case), "generator")
    assert found.keys() >= expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected.get(name, torch.zeros_like(gradient)), rtol=1e-6, atol=1e-6)
