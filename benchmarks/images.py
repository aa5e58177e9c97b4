"""Fitting a camera's image to a policy: by Pillow and NumPy before the engine, and inside the ONNX
graph by ONNX Runtime's `Resize`.

Both are given the same 640 x 480 image, one after the other in each repeat, and write floats
(1, 3, h, w) in 0..1. The graph's time has the copy into its input in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.edge.engines.engine import Engine, open_engine
from headway.edge.policy.images import Fit, Fitting, place
from headway.types import Frame

SOURCE = (480, 640)
SIZE = 224
REPEATS = 300
OPSET = 18  # the first one whose Resize can be told to antialias


def measure(effort: float = 1.0) -> Findings:
    rng = np.random.default_rng(0)
    # Noise on a slope: of noise alone, a mean over pixels would be grey everywhere.
    slope = np.linspace(0, 200, SOURCE[1])[:, None] + rng.integers(0, 56, (*SOURCE, 3))
    depth = rng.integers(0, 5000, SOURCE).astype(np.uint16)
    frame = Frame(slope.astype(np.uint8), depth, np.eye(3))
    n = max(5, round(REPEATS * effort))
    pad, exact = _floats(SIZE, SIZE, "pad"), _floats(*SOURCE, "exact")
    outs = {f: np.zeros(f.shapes[0], np.float32) for f in (pad, exact)}
    calls: dict[str, Callable[[], Any]] = {
        f"pad to {SIZE} x {SIZE}, Pillow": lambda: pad.write(frame, outs[pad]),
        "as it is, NumPy": lambda: exact.write(frame, outs[exact]),
    }
    whole = Fitting("camera", SIZE, SIZE, fit="pad")
    bytes_out = np.zeros(whole.shapes[0], np.uint8)
    calls[f"pad to {SIZE} x {SIZE} of uint8 (h, w, 3), Pillow"] = lambda: whole.write(
        frame, bytes_out
    )
    far = Fitting("camera", SIZE, SIZE, kind="depth", fit="pad", scale=0.001)
    metres = np.zeros(far.shapes[0], np.float32)
    calls[f"depth, pad to {SIZE} x {SIZE} in m, NumPy"] = lambda: far.write(frame, metres)
    notes = []
    with TemporaryDirectory() as folder:
        graphs = _graphs(Path(folder), pad, exact)
        for name, engine in graphs.items():
            calls[name] = _asks(engine, frame)
        found = {name: np.zeros(n) for name in calls}
        for i in range(-2, n):
            for name, call in calls.items():
                begun = perf_counter_ns()
                call()
                if i >= 0:
                    found[name][i] = perf_counter_ns() - begun
        for (name, engine), ours in zip(graphs.items(), (pad, pad, exact), strict=False):
            off = 255 * np.abs(engine.bind("y") - outs[ours])
            notes.append(f"{name}: differs by {off.mean():.2g} of 255, at most {off.max():.2g}")
            engine.close()
    if not graphs:
        notes.append("nothing to compare with: the graphs need `pip install onnx`")
    rows = tuple((name, percentiles(took, 1e-6)) for name, took in found.items())
    p50 = {name: row[0] for name, row in rows}
    numbers = [
        Number(
            "640 x 480 padded to 224 x 224, Pillow", p50[f"pad to {SIZE} x {SIZE}, Pillow"], "ms"
        ),
        Number("640 x 480 as floats (1, 3, h, w), NumPy", p50["as it is, NumPy"], "ms"),
    ]
    table = Table("an image of 640 x 480", PERCENTILES, rows, "ms")
    return Findings("Images fitted to a policy", numbers, [table], notes)


def _floats(height: int, width: int, fit: Fit) -> Fitting:
    return Fitting("camera", height, width, fit=fit, layout="chw", scale=1 / 255)


def _asks(engine: Engine, frame: Frame) -> Callable[[], None]:
    x = engine.bind("x")

    def ask() -> None:
        x[0] = frame.rgb
        engine.run()

    return ask


def _graphs(folder: Path, pad: Fitting, exact: Fitting) -> dict[str, Engine]:
    """Engines of graphs that do what `pad` does, with antialiasing as Pillow has it and without,
    and what `exact` does. {} where `onnx` is not installed."""
    try:
        from onnx import helper
    except ImportError:
        return {}
    spot = place(SOURCE, (pad.height, pad.width), pad.fit)
    (top, left), (tall, wide) = spot.at, spot.size
    bars = [0, 0, top, left, 0, 0, pad.height - top - tall, pad.width - left - wide]
    sizes = {"sizes": np.array([1, 3, tall, wide]), "bars": np.array(bars)}
    ends = [
        helper.make_node("Pad", ["r", "bars"], ["p"]),
        helper.make_node("Mul", ["p", "k"], ["y"]),
    ]

    def resize(antialias: int) -> Any:
        return helper.make_node(
            "Resize", ["f", "", "", "sizes"], ["r"], mode="linear", antialias=antialias,
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip

    size = f"pad to {SIZE} x {SIZE}"
    shape = (1, 3, pad.height, pad.width)
    made = {
        f"{size}, graph with antialiasing": ([resize(1), *ends], sizes, shape),
        f"{size}, graph without": ([resize(0), *ends], sizes, shape),
        "as it is, graph": ([helper.make_node("Mul", ["f", "k"], ["y"])], {}, exact.shapes[0]),
    }
    return {
        name: _engine(folder / f"{i}.onnx", nodes, constants, out)
        for i, (name, (nodes, constants, out)) in enumerate(made.items())
    }


def _engine(
    path: Path, nodes: list[Any], constants: dict[str, Any], out: tuple[int, ...]
) -> Engine:
    """A graph from the image `x` (1, h, w, 3) over `f`, the same as floats (1, 3, h, w), and
    `nodes` to `y`, which has the shape `out`."""
    from onnx import TensorProto, helper, numpy_helper

    first = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
    ]
    constants = {**constants, "k": np.float32(1 / 255)}
    graph = helper.make_graph(
        [*first, *nodes],
        "images",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, *SOURCE, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )
    return open_engine("ort", path)
