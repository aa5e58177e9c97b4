"""`headway build`, with TensorRT as `tensorrt_fake.py` plays it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flow_rig import flow_policy
from kernels_cuda import needs_host
from null_robot import make_policy
from pro_head import make_head
from tensorrt_fake import FakeTensorrt

from headway import bundle
from headway.__main__ import main
from headway.edge.engines.engine import open_bundle
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api, backend
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.machine import Machine

pytestmark = needs_host


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorrt:
    """A computer with TensorRT and a GPU."""
    driver = HostDriver()
    fake = FakeTensorrt(driver)
    monkeypatch.setattr(api, "module", lambda kind: fake)
    monkeypatch.setattr(api, "missing", lambda kind: "" if kind == "tensorrt" else "not here")
    monkeypatch.setattr(backend, "machine", lambda: Machine("87", "Orin", "540", "L4T R36.4.3"))
    monkeypatch.setattr(backend.cuda, "device", lambda kernels: driver)
    return fake


def test_it_builds_checks_times_and_says_what_auto_takes(
    tmp_path: Path, trt: FakeTensorrt, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_head(tmp_path / "head")
    assert main(["build", str(made.path)]) == 0
    out = capsys.readouterr().out
    assert "tensorrt engine built in" in out
    assert "worst cosine 1.000000, largest difference 0, 16 samples" in out
    assert "engine = auto takes it" in out
    assert main(["build", str(made.path), "--engine", "tensorrt"]) == 0
    assert "was built already" in capsys.readouterr().out
    assert trt.builds == 1
    assert main(["build", str(made.path), "--again"]) == 0
    assert trt.builds == 2
    engine = open_bundle(made, "tensorrt")
    assert (engine.kind, engine.chosen) == ("tensorrt", "tensorrt: as configured")
    engine.close()
    assert open_bundle(made).chosen.split(": ")[1].startswith("fastest here for this model (ort ")


def test_a_cache_of_its_own_and_several_candidates(
    tmp_path: Path, trt: FakeTensorrt, capsys: pytest.CaptureFixture[str]
) -> None:
    made = flow_policy(tmp_path / "policy")
    cache = tmp_path / "cache"
    for candidates in ("1", "4"):
        arguments = ["build", str(made), "--cache", str(cache), "--candidates", candidates]
        assert main(arguments) == 0, capsys.readouterr().err
    for candidates in (1, 4):
        options = EngineOptions(cache=str(cache))
        engine = open_bundle(bundle.load(made), "tensorrt", candidates, options)
        assert engine.inputs["noise"].shape[0] == candidates
        engine.close()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--engine", "ort"], 2, "the engine `ort` has nothing to build"),
        (["--engine", "tensort"], 2, "did you mean `tensorrt`?"),
        (["--candidates", "0"], 2, "--candidates wants 1 or more"),
        (["--candidates", "2"], 3, "makes no chunks from noise"),
        (["--level", "9"], 2, "level"),
        (["--precision", "fp16"], 3, "wanted an engine of fp16, found a graph of fp32"),
        (["--dla", "0"], 2, "wanted DLA core 0, found 0 cores"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, trt: FakeTensorrt, capsys: pytest.CaptureFixture[str], arguments: Any,
    code: int, message: str,
) -> None:  # fmt: skip
    made = make_head(tmp_path / "head")
    assert main(["build", str(made.path), *arguments]) == code
    assert message in capsys.readouterr().err
    assert not made.path.with_name(made.path.name + ".engines").exists()


def test_without_tensorrt_it_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not all(api.missing(kind) for kind in api.INSTALL):
        pytest.skip("TensorRT and a device are here")
    make_policy(made := tmp_path / "policy")
    assert main(["build", str(made)]) == 5
    said = capsys.readouterr().err
    assert "found none that runs here: tensorrt:" in said
    assert "--engine tensorrt_rtx" in said


def test_a_wrong_engine_is_not_kept(
    tmp_path: Path, trt: FakeTensorrt, capsys: pytest.CaptureFixture[str]
) -> None:
    trt.wrong = 0.5
    made = make_head(tmp_path / "head")
    assert main(["build", str(made.path)]) == 3
    assert "does not answer as ONNX Runtime on the CPU" in capsys.readouterr().err
    assert not made.path.with_name(made.path.name + ".engines").exists()
