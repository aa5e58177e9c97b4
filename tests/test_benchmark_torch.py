"""PyTorch beside the engines, on a module that plays it: what does not run there is a note."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headway.benchmarks import _torch


class Module:
    def eval(self) -> Module:
        return self

    cuda = eval

    def __call__(self, x: Any) -> Any:
        return SimpleNamespace(cpu=lambda: x)


def test_a_compiler_that_is_missing_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(module: Any, mode: str) -> Any:
        def run(*_: object) -> Any:
            raise RuntimeError("Cannot find a working triton installation\nmore")

        return run

    fake = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: True),
        compile=compiled,
        inference_mode=nullcontext,
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(_torch, "_module", lambda made: Module())
    monkeypatch.setattr(
        _torch, "_pinned", lambda torch, *_: SimpleNamespace(cuda=lambda non_blocking: np.zeros(1))
    )
    manifest = SimpleNamespace(name=_torch.POLICY, inputs=[SimpleNamespace(shape=(1,), dtype="f4")])
    made: Any = SimpleNamespace(manifest=manifest)
    notes: list[str] = []
    ways = _torch.torch_calls(made, notes)
    assert [name for name, _ in ways] == ["torch eager"]
    assert notes == ["torch compile: RuntimeError: Cannot find a working triton installation"]
