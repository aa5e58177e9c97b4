"""ONNX Runtime's execution providers: what was asked for runs every node, or the model is refused.

ONNX Runtime itself goes on with the CPU, after a line in a log. The wheel for CPUs has a provider
that takes no node (Azure's), which is as good as a GPU that takes none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pro_head import make_head

from headway import plugins
from headway.bundle import onnx_file
from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines import engine, providers, session
from headway.edge.engines.engine import open_engine, specs
from headway.edge.engines.onnx_runtime import onnxruntime
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api
from headway.errors import Missing, SpecMismatch, Untrusted
from headway.kernels.cuda.machine import Machine

NONE = "AzureExecutionProvider"
KINDS = {"ort_cuda": "CUDAExecutionProvider", "ort_tensorrt": "TensorrtExecutionProvider"}


@pytest.mark.parametrize(("kind", "provider"), KINDS.items())
def test_an_onnx_runtime_without_the_provider_is_refused(
    tmp_path: Path, kind: str, provider: str
) -> None:
    if provider in onnxruntime().get_available_providers():
        pytest.skip("this ONNX Runtime has it")
    made = make_head(tmp_path / "head")
    with pytest.raises(Missing, match=rf"`{kind}`.*CPUExecutionProvider and not {provider}"):
        open_engine(kind, made.onnx)


@pytest.mark.skipif(
    NONE not in onnxruntime().get_available_providers(), reason="no provider that takes no node"
)
def test_nodes_on_another_provider_are_named(tmp_path: Path) -> None:
    made = make_head(tmp_path / "head")
    inputs = specs(made.manifest.inputs)
    if hasattr(onnxruntime().InferenceSession, "get_provider_graph_assignment_info"):
        wanted, said = SpecMismatch, f"all nodes on {NONE}, found Concat.*MatMul.*more on the CPU"
    else:  # before 1.24, and so on Python 3.10
        wanted, said = Missing, f"which nodes run on {NONE}, found an ONNX Runtime that does not"
    with pytest.raises(wanted, match=said):
        session.open_session(onnx_file.check(made.onnx), inputs, "azure", NONE, {})


class _Session:
    """As ONNX Runtime is where a provider does not start."""

    def __init__(self, providers: list[str], parts: Any) -> None:
        self.get_providers = lambda: providers
        if parts is not None:
            self.get_provider_graph_assignment_info = lambda: parts


def test_a_provider_that_does_not_start_is_missing() -> None:
    with pytest.raises(Missing, match="CUDAExecutionProvider, found that it does not start here"):
        session._placed(_Session(["CPUExecutionProvider"], []), KINDS["ort_cuda"], Path("m"))


def test_an_onnx_runtime_that_does_not_say_where_nodes_run_is_not_believed() -> None:
    with pytest.raises(Missing, match="does not say"):
        session._placed(_Session([NONE], None), NONE, Path("m"))


def test_all_nodes_on_the_provider_are_accepted() -> None:
    part = SimpleNamespace(ep_name=NONE, get_nodes=lambda: [SimpleNamespace(op_type="A", name="a")])
    session._placed(_Session([NONE, "CPUExecutionProvider"], [part]), NONE, Path("m"))


@pytest.mark.parametrize(("kind", "provider"), KINDS.items())
def test_without_a_device_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, kind: str, provider: str
) -> None:
    have = SimpleNamespace(get_available_providers=lambda: [provider])
    monkeypatch.setattr(providers, "onnxruntime", lambda: have)

    def no_device() -> int:
        raise Missing("wanted a CUDA device")

    monkeypatch.setattr(providers, "devices", no_device)
    assert plugins.load(engine.FOLDER, kind).missing() == "wanted a CUDA device"


def test_the_tensorrt_that_a_library_is_linked_to_says_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provider.so"
    assert api.linked(path) == ""
    path.write_bytes(b"\x7fELF libcudart.so.12\0")
    assert api.linked(path) == ""
    path.write_bytes(b"\x7fELF libcudart.so.12\0libnvinfer.so.987\0libnvinfer_plugin.so.987\0")
    assert api.linked(path) == "libnvinfer.so.987"  # which is not here
    said = dict(zip(("Major", "Minor", "Patch", "Build"), (10, 3, 0, 30), strict=True))
    asked = {f"getInferLib{part}Version": lambda n=n: n for part, n in said.items()}
    names: list[str] = []
    monkeypatch.setattr(api.ctypes, "CDLL", lambda name: names.append(name) or asked)
    assert api.linked(path) == "10.3.0.30"
    assert names == ["libnvinfer.so.987"]


def test_onnx_runtimes_own_cache_is_below_a_folder_of_our_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_head(tmp_path / "head")
    given: list[dict[str, str]] = []
    backend = plugins.load(engine.FOLDER, "ort_tensorrt")
    monkeypatch.setattr(
        backend, "open_session", lambda path, inputs, kind, provider, more: given.append(more)
    )
    inputs, outputs = specs(made.manifest.inputs), specs(made.manifest.outputs)

    def opened(**options: Any) -> str:
        backend.open_engine(OnnxFile(made.onnx, 0), inputs, outputs, EngineOptions(**options))
        return given[-1]["trt_engine_cache_path"]

    folders = {opened(), opened(level=3), opened(workspace_mb=64)}
    assert given[2]["trt_max_workspace_size"] == str(64 << 20)
    monkeypatch.setattr(providers, "machine", lambda: Machine("87", "Orin", "540", ""))
    folders.add(opened())
    made.onnx.write_bytes(make_head(tmp_path / "b", seed=1).onnx.read_bytes())
    folders.add(opened())
    monkeypatch.setattr(api, "linked", lambda path: "10.3.0.30")  # another TensorRT below it
    folders.add(opened())
    assert len(folders) == 6
    assert all(Path(f).stat().st_mode & 0o077 == 0 for f in folders)
    made.path.with_name(made.path.name + ".engines").chmod(0o777)
    with pytest.raises(Untrusted, match="everybody"):
        opened()
