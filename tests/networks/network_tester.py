# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Checks that every network of this package must pass."""

from __future__ import annotations

import copy
import io
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn


def tensors(output) -> list[Tensor]:
    """All tensors of a network's output, in order: one tensor, or a (named) tuple or list of them."""
    if isinstance(output, Tensor):
        return [output]
    return [tensor for part in output for tensor in tensors(part)]


def perturb(network: nn.Module, scale: float = 0.02) -> nn.Module:
    """Move all parameters a little, so that layers that start at zero let gradients through."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def num_parameters(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


TRACING = {"test_scripts", "test_exports", "test_explicit_presence_exports", "test_compiles_without_graph_breaks"}
"""What takes seconds for each network."""


class NetworkTester:
    """Subclasses are named ``Test...`` and fill in ``make`` and ``inputs``.

    ``make(spatial_dims)`` builds a small network, ``inputs(spatial_dims)`` the tuple of tensors that its ``forward``
    takes (batch of two).
    """

    dims: ClassVar[tuple[int, ...]] = (2, 3)
    traced: ClassVar[tuple[int, ...]] = (2,)  # of `dims`: scripted, exported and compiled without `-m overlays`, too
    scripts: ClassVar[bool] = True  # goes through torch.jit.script
    may_have_zero_gradient: ClassVar[tuple[str, ...]] = ()  # parts of names, e.g. of biases in front of a norm layer

    def pytest_generate_tests(self, metafunc) -> None:
        if "spatial_dims" in metafunc.fixturenames:
            seldom = set(self.dims) - set(self.traced) if metafunc.function.__name__ in TRACING else ()
            marked = [pytest.param(n, id=f"{n}d", marks=[pytest.mark.overlays] * (n in seldom)) for n in self.dims]
            metafunc.parametrize("spatial_dims", marked)

    def make(self, spatial_dims: int) -> nn.Module:
        raise NotImplementedError

    def inputs(self, spatial_dims: int) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def close(self, actual, expected) -> None:
        actual, expected = tensors(actual), tensors(expected)
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)

    def test_every_parameter_gets_a_gradient(self, spatial_dims):
        network = perturb(self.make(spatial_dims)).train()
        output = tensors(network(*self.inputs(spatial_dims)))
        sum((part * torch.randn_like(part)).sum() for part in output).backward()
        named = dict(network.named_parameters())
        assert [name for name, p in named.items() if p.grad is None or not p.grad.isfinite().all()] == []
        silent = [name for name, p in named.items() if not p.grad.any()]
        assert [name for name in silent if not any(part in name for part in self.may_have_zero_gradient)] == []

    def test_evaluation_is_deterministic(self, spatial_dims):
        network, args = self.make(spatial_dims).eval(), self.inputs(spatial_dims)
        kept = [arg.clone() for arg in args]
        first, second = tensors(network(*args)), tensors(network(*args))
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
        assert all(torch.equal(one, other) for one, other in zip(args, kept, strict=True)), "inputs were written into"

    def test_rows_do_not_mix_in_evaluation(self, spatial_dims):
        network, args = self.make(spatial_dims).eval(), self.inputs(spatial_dims)
        together = tensors(network(*args))
        alone = tensors(network(*[arg[1:] for arg in args]))
        self.close([part[1:] for part in together], alone)

    def test_state_dict_round_trip(self, spatial_dims):
        network, args = perturb(self.make(spatial_dims)).eval(), self.inputs(spatial_dims)
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        other = self.make(spatial_dims).eval()
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        self.close(other(*args), network(*args))

    def test_deepcopy(self, spatial_dims):
        network, args = self.make(spatial_dims).eval(), self.inputs(spatial_dims)
        self.close(copy.deepcopy(network)(*args), network(*args))

    def test_scripts(self, spatial_dims):
        if not self.scripts:
            pytest.skip("only deployed networks go through TorchScript")
        network, args = perturb(self.make(spatial_dims)).eval(), self.inputs(spatial_dims)
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(network), file)
        file.seek(0)
        with torch.no_grad():
            self.close(torch.jit.load(file)(*args), network(*args))

    def test_exports(self, spatial_dims):
        network, args = perturb(self.make(spatial_dims)).eval(), self.inputs(spatial_dims)
        with torch.no_grad():
            self.close(torch.export.export(network, args).module()(*args), network(*args))

    def test_compiles_without_graph_breaks(self, spatial_dims):
        network, args = perturb(self.make(spatial_dims)).eval(), self.inputs(spatial_dims)
        torch.compiler.reset()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        with torch.no_grad():
            self.close(compiled(*args), network(*args))

    def test_mixed_precision_is_finite(self, spatial_dims):
        network, args = perturb(self.make(spatial_dims)).train(), self.inputs(spatial_dims)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = tensors(network(*args))
        sum(part.float().square().sum() for part in output).backward()
        assert all(part.isfinite().all() for part in output)
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
