"""The shipped pick-and-place policy as the PyTorch module that it was exported from, eager and
compiled, host to host on the CUDA device; nothing without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headway.bundle import Bundle

POLICY = "pick_place_policy"


def torch_calls(made: Bundle, notes: list[str]) -> list[tuple[str, Callable[[], object]]]:
    """Ways to run `made` in PyTorch on a CUDA device, by name; what is missing goes to `notes`."""
    if made.manifest.name != POLICY:
        return []
    try:
        import torch
    except ImportError:
        notes.append("PyTorch: not installed (pip install 'headway[learn]')")
        return []
    if not torch.cuda.is_available():
        notes.append("PyTorch: it has no CUDA device here")
        return []
    module = _module(made).eval().cuda()
    inputs = [_pinned(torch, t.shape, t.dtype) for t in made.manifest.inputs]

    def call(run: Any) -> Callable[[], object]:
        def once() -> object:
            with torch.inference_mode():
                return run(*(x.cuda(non_blocking=True) for x in inputs)).cpu()

        return once

    ways = []
    for name, run in (
        ("torch eager", module),
        ("torch compile", torch.compile(module, mode="max-autotune")),
    ):
        once = call(run)
        try:
            once()  # it compiles now, for which it wants Triton and a C compiler
        except Exception as e:  # of any of them
            notes.append(f"{name}: {type(e).__name__}: {(str(e).splitlines() or [''])[0]}")
        else:
            ways.append((name, once))
    return ways


def _pinned(torch: Any, shape: tuple[int, ...], dtype: str) -> Any:
    return torch.from_numpy(np.zeros(shape, dtype)).pin_memory()


def _module(made: Bundle) -> Any:
    """The network with the weights that the ONNX model has under the same names; numbers that the
    exporter folded into others keep their initial values, which changes no time."""
    import onnx
    import torch
    from onnx import numpy_helper

    from headway.learn.networks import ChunkPolicy, wrist_camera

    held = {
        t.name: numpy_helper.to_array(t).copy() for t in onnx.load(str(made.onnx)).graph.initializer
    }
    shapes = {t.name: t.shape for t in made.manifest.inputs}
    net = ChunkPolicy(
        camera=wrist_camera(shapes["wrist_rgb"][1], 60.0, 0.0, (0.0, 0.0, 0.0)),
        state=shapes["state"][1],
        instructions=held["attention.asked.weight"].shape[0],
        horizon=made.manifest.outputs[0].shape[1],
    )
    own = net.state_dict()
    weights = {
        name: torch.from_numpy(held[name])
        for name, value in own.items()
        if name in held and held[name].shape == tuple(value.shape)
    }
    net.load_state_dict({**own, **weights})
    return net
