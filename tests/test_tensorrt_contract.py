"""What Headway calls of TensorRT, cuda-bindings and pycuda exists in their releases.

`make test-tensorrt` installs their real packages; here the names that our sources use are read from
the sources. By what a variable is called there, it is known what it is: `builder.num_DLA_cores` is
a name of `trt.Builder`."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.edge.engines import trt as package
from headway.edge.engines.trt import api
from headway.kernels import cuda

OURS = sorted(Path(package.__file__).parent.glob("*.py"))
# Variable or attribute of our sources -> class of TensorRT.
OBJECTS = {
    "trt": "", "builder": "Builder", "network": "INetworkDefinition", "config": "IBuilderConfig",
    "parser": "OnnxParser", "refitter": "Refitter", "weights": "OnnxParserRefitter",
    "written": "ISerializationConfig", "error": "ParserError", "profile": "IOptimizationProfile",
    "runtime": "Runtime", "_runtime": "Runtime", "engine": "ICudaEngine",
    "context": "IExecutionContext", "_context": "IExecutionContext",
    "inspector": "EngineInspector", "flag": "BuilderFlag", "kind": "DataType",
    "level": "HardwareCompatibilityLevel", "tensor": "ITensor",
}  # fmt: skip
RELEASES = ("10.3.0", "10.16.1.11", "11.0.0.114", "11.4.0.106")


def used(paths: list[Path]) -> set[tuple[str, str]]:
    """Class ("" for the module) and name of everything of TensorRT that the sources use; of a chain
    such as `trt.BuilderFlag.TF32` both links."""
    found: set[tuple[str, str]] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or node.attr.startswith("_"):
                continue
            owner = node.value
            if isinstance(owner, ast.Name) and owner.id in OBJECTS:
                found.add((OBJECTS[owner.id], node.attr))
            elif isinstance(owner, ast.Attribute):
                if owner.attr in ("_runtime", "_context", "engine"):
                    found.add((OBJECTS[owner.attr], node.attr))
                elif isinstance(owner.value, ast.Name) and owner.value.id == "trt":
                    found.add((owner.attr, node.attr))
    return found


THEIRS = used([p for p in OURS if p.name not in ("backend.py", "machine.py", "graph.py")])


def some() -> set[tuple[str, str]]:
    return {(owner, name) for owner, names in api.SOME.items() for name in names}


def test_the_names_are_found_in_our_sources() -> None:
    """So that the tests below compare something."""
    for pair in (
        ("Builder", "build_serialized_network"), ("", "OnnxParser"), ("BuilderFlag", "TF32"),
        ("IExecutionContext", "execute_async_v3"), ("ICudaEngine", "get_tensor_dtype"),
        ("DataType", "UINT8"), ("EngineInspector", "get_layer_information"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"), ("Runtime", "deserialize_cuda_engine"),
        ("ParserError", "node_operator"), ("ITensor", "shape"), ("Refitter", "get_missing_weights"),
        ("OnnxParserRefitter", "refit_from_bytes"), ("ISerializationConfig", "set_flag"),
    ):  # fmt: skip
        assert pair in THEIRS
    assert len(THEIRS) > 60


def missing_in(names: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(owner, name) for owner, name in THEIRS if name not in names.get(owner, ())}


@pytest.fixture
def venv(request: pytest.FixtureRequest) -> Path:
    path = request.config.getoption("--tensorrt-venv")
    if path is None:
        pytest.skip("the packages of NVIDIA are not here: make test-tensorrt")
    return Path(path).resolve()


def told(*arguments: object) -> Any:
    script = Path(__file__).with_name("tensorrt_names.py")
    out = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_every_name_is_in_the_release_or_is_probed(venv: Path, release: str) -> None:
    found = told("tensorrt", venv / "bindings" / release, release.partition(".")[0])
    assert release.startswith(found["version"])
    assert missing_in(found["names"]) <= some()


@pytest.mark.slow
def test_what_is_probed_is_in_some_releases_only(venv: Path) -> None:
    names = [
        told("tensorrt", venv / "bindings" / r, r.partition(".")[0])["names"] for r in RELEASES
    ]
    rtx = pytest.importorskip("tensorrt_rtx")
    ours = {c: dir(getattr(rtx, c, None)) for c in api.SOME if c} | {"": dir(rtx)}
    for owner, name in some():
        have = [name in n.get(owner, ()) for n in [*names, ours]]
        assert any(have), (owner, name)
        assert not all(have), f"{owner}.{name} is in all releases: it need not be probed"


@pytest.mark.slow
def test_tensorrt_rtx_has_the_names_too(venv: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    names = {"": dir(rtx)} | {c: dir(getattr(rtx, c)) for c, _ in THEIRS if c and hasattr(rtx, c)}
    assert missing_in(names) == set()


def attributes(path: Path, owner: str) -> Iterator[str]:
    """Names that the source at `path` takes of `owner`, or of `self._owner`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            of = node.value
            name = of.id if isinstance(of, ast.Name) else getattr(of, "attr", "")
            if name in (owner, f"_{owner}"):
                yield node.attr


@pytest.mark.slow
def test_cuda_bindings_have_what_the_driver_calls(venv: Path) -> None:
    path = Path(cuda.__file__).with_name("with_bindings.py")
    wanted = set(attributes(path, "cu"))
    assert {"cuGraphLaunch", "cuMemcpyHtoDAsync", "CUstream_flags"} <= wanted
    for folder in sorted((venv / "cuda").iterdir()):
        have = set(told("module", folder, "cuda.bindings.driver")["names"][""])
        assert wanted - have == set(), folder.name


@pytest.mark.slow
def test_pycuda_has_what_the_driver_calls(venv: Path) -> None:
    """pycuda has no wheel, and does not load without a driver: its source tells its names."""
    path = Path(cuda.__file__).with_name("with_pycuda.py")
    wanted = {*attributes(path, "cuda"), "retain_primary_context", "push", "pop", "set_attribute"}
    wanted |= {"detach", "module_from_buffer"}
    wanted |= {"compute_capability", "get_attribute", "get_function", "handle", "synchronize"}
    wanted |= {"get_device_pointer", "MAX_DYNAMIC_SHARED_SIZE_BYTES", "DEVICEMAP", "INTEGRATED"}
    (source,) = (p for p in (venv / "pycuda").iterdir() if p.is_dir())
    files = [*(source / "src" / "wrapper").glob("*.cpp"), source / "pycuda" / "driver.py"]
    text = "\n".join(p.read_text() for p in files)
    assert {n for n in wanted if n not in text} == set()
