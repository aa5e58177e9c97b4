"""Products of int8 are those that the model's Q/DQ nodes state, on every processor."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from headway.edge.engines import session
from headway.edge.engines.engine import open_engine

SIZE, STEP = 64, 1.0 / 127.0


def model(path: Path) -> tuple[Path, np.ndarray]:
    """y = q(q(x) w) w in int8 as `headway quantize` writes it, both products with the same weight
    (SIZE, SIZE) of large numbers, and that weight. Sums of two products exceed 16 bits."""
    w = np.full((SIZE, SIZE), 127, np.int8)
    w[::3] = -120
    given = {
        "w": w, "one": np.array(STEP, np.float32), "two": np.array(0.5, np.float32),
        "zero": np.array(0, np.int8),
    }  # fmt: skip

    def layer(k: int, x: str, scale: str, y: str) -> list[onnx.NodeProto]:
        return [
            h.make_node("QuantizeLinear", [x, scale, "zero"], [f"q{k}"]),
            h.make_node("DequantizeLinear", [f"q{k}", scale, "zero"], [f"d{k}"]),
            h.make_node("DequantizeLinear", ["w", "one", "zero"], [f"w{k}"]),
            h.make_node("MatMul", [f"d{k}", f"w{k}"], [y]),
        ]

    graph = h.make_graph(
        [*layer(0, "x", "one", "h"), *layer(1, "h", "two", "y")], "g",
        [h.make_tensor_value_info("x", T.FLOAT, [1, SIZE])],
        [h.make_tensor_value_info("y", T.FLOAT, [1, SIZE])],
        [numpy_helper.from_array(v, n) for n, v in given.items()],
    )  # fmt: skip
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9), str(path))
    return path, w * np.float64(STEP)


@pytest.mark.parametrize("vnni", [None, False])
def test_sums_of_large_products_do_not_saturate(
    vnni: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this processor is, and as one of x86 without VNNI."""
    if vnni is not None:
        monkeypatch.setattr(session, "multiplies_int8", lambda: vnni)
    path, w = model(tmp_path / "m.onnx")
    x = np.random.default_rng(0).uniform(0.8, 1.0, (1, SIZE)).astype(np.float32)
    engine = open_engine("ort", path)
    engine.bind("x")[...] = x
    engine.run()
    found = engine.bind("y").copy()
    engine.close()

    def rounded(value: np.ndarray, step: float) -> np.ndarray:
        return np.clip(np.rint(value / step), -128, 127) * step

    wanted = rounded(rounded(x, STEP) @ w, 0.5) @ w
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_which_processors_multiply_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"text": "flags : avx2 fma"}
    monkeypatch.setattr(Path, "read_text", lambda self: said["text"])
    for machine, text, can in (
        ("x86_64", "flags : avx2 fma", False),
        ("x86_64", "flags : avx2 avx_vnni", True),
        ("AMD64", "flags : avx512_vnni", True),
        ("aarch64", "Features : asimd", True),
    ):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        said["text"] = text
        assert session.multiplies_int8.__wrapped__() is can
