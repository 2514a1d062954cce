# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import socket

import pytest
import torch

from tests.objectives.unpaired_worker import CASES, METHODS, found_by, make_batch, make_objective, work
from tests.processes import start_processes


@pytest.fixture(scope="module")
def on_two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(work, (port, str(folder)))
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_equal_one_with_the_joined_batch(method, case, on_two_processes):
    found, expected = on_two_processes[f"{method} {case}"], found_by(make_objective(method), make_batch(method, case))
    assert found.keys() >= expected.keys()
    assert (expected[f"term {METHODS[method][0]}"] > 0) == (case != "one modality alone")
    for name, value in found.items():
        torch.testing.assert_close(value, expected.get(name, torch.zeros_like(value)), rtol=1e-6, atol=1e-9)
