"""What surrounds the CUDA kernels: drivers, graphs, builds. No GPU."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels_cuda import agree, needs_host
from kernels_rows import scale, wild

from headway import kernels
from headway.benchmarks import gpu
from headway.errors import DeviceError, Missing
from headway.kernels import cuda, native, oracle, spec
from headway.kernels.cuda import __main__ as main
from headway.kernels.cuda import build, compiled, driver, measure, selfcheck
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.params import INBOX_ROWS, PARAMS_BYTES
from headway.kernels.cuda.stream import FeatureStream


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver that this process opened before."""
    monkeypatch.setattr(cuda._here, "driver", None, raising=False)


class Integrated(HostDriver):
    """Jetson: host memory is the device's, nothing needs to be copied."""

    integrated = True

    def upload(self, to: int, source: Any) -> None:
        assert source.nbytes in (PARAMS_BYTES, 8 * spec.windows(500.0).long), "copied an inbox"
        super().upload(to, source)

    def copy(self, to: int, source: int, n: int) -> None:
        assert n not in (4 * spec.N_FEATURES, 4 * spec.N_MASKS), "copied a result"
        super().copy(to, source, n)


class Sum:
    """A head: reads features on the device, writes their sum."""

    def __init__(self, d: HostDriver) -> None:
        self.driver, self.streams = d, []
        self.features = d.alloc(4 * spec.N_FEATURES)
        self.mask = d.alloc(4 * spec.N_MASKS)
        self.out = 0.0

    def enqueue(self, stream: int) -> None:
        self.streams.append(stream)
        self.driver._do(self._run)

    def _run(self) -> None:
        self.out = float(self.read().sum())

    def read(self) -> Any:
        return np.frombuffer(
            (ctypes.c_float * spec.N_FEATURES).from_address(self.features), np.float32
        )


@needs_host
@pytest.mark.parametrize("make", [HostDriver, Integrated])
@pytest.mark.parametrize("graph", [True, False])
def test_a_tick_is_one_launch(make: Any, graph: bool) -> None:
    d = make()
    stream = FeatureStream(d, scale(), 6, 500.0, graph=graph)
    want = oracle.FeatureStream(scale(), 6, 500.0)
    for i, row in enumerate(wild(12, 1)):
        stream.push(row)
        want.push(row)
        a, b = want.features(), stream.features()
        agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))
        assert d.launches == i + 1
    assert (stream._graph is not None) == graph


@needs_host
def test_rows_between_two_features_go_in_one_launch_and_none_is_lost() -> None:
    d = HostDriver()
    stream = FeatureStream(d, scale(), 6, 500.0)
    want = oracle.FeatureStream(scale(), 6, 500.0)
    for row in wild(10, 2):
        stream.push(row)
        want.push(row)
    assert d.launches == 0
    stream.features()
    assert d.launches == 1
    for row in wild(2 * INBOX_ROWS + 3, 3):  # the inbox overflows twice
        stream.push(row)
        want.push(row)
    a, b = want.features(), stream.features()
    agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))
    assert d.launches == 4


@needs_host
def test_a_head_runs_in_the_same_graph_on_its_own_buffers() -> None:
    d = HostDriver()
    head = Sum(d)
    stream = FeatureStream(d, scale(), 6, 500.0, into=(head.features, head.mask), head=head)
    for row in wild(5, 4):
        stream.push(row)
        features, _ = stream.features()
        np.testing.assert_array_equal(head.read(), features)
        assert head.out == float(features.sum())
    assert head.streams == [d.stream, d.stream]  # once to warm up, once captured; then replayed


@needs_host
def test_a_failed_capture_leaves_the_driver_usable() -> None:
    d = HostDriver()

    def work() -> None:
        raise DeviceError("no")

    with pytest.raises(DeviceError):
        d.capture(work)
    stream = FeatureStream(d, scale(), 6, 500.0)
    stream.push(wild(1, 5)[0])
    assert stream.features()[1].all()


@needs_host
def test_closing_gives_all_memory_back() -> None:
    d = HostDriver()
    for graph in (True, False):
        stream = FeatureStream(d, scale(), 6, 500.0, graph=graph)
        stream.push(wild(1, 5)[0])
        stream.features()
        stream.close()
        assert not d._memory
        with pytest.raises(IndexError):  # and not a write to memory that is gone
            stream.push(wild(1, 5)[0])
    d.close()
    assert not d._memory


def test_without_a_driver_it_says_what_is_missing(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_library(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(driver.ctypes, "CDLL", no_library)
    with pytest.raises(Missing, match=r"libcuda\.so\.1"):
        kernels.resolve("cuda")
    with pytest.raises(Missing, match="install its driver"):
        kernels.feature_stream("cuda", scale(), 6, 500.0)
    assert "libcuda" in cuda.missing()
    assert kernels.resolve("auto") == ("cpp" if native.module("auto") is not None else "numpy")


@pytest.mark.parametrize(("code", "count"), [(100, 0), (0, 0), (999, 1)])
def test_a_driver_without_a_device_is_no_device(
    code: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def cuInit(self, flags: int) -> int:  # noqa: N802
            return code

        def cuDeviceGetCount(self, pointer: Any) -> int:  # noqa: N802
            pointer._obj.value = count
            return 0

    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: Library())
    with pytest.raises(Missing, match="no device"):
        driver.devices()


def test_a_device_without_a_binding_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="pycuda, cuda-bindings"):
        driver.provider()


def test_providers_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*names: str) -> None:
        monkeypatch.setattr(driver, "find_spec", lambda n: object() if n in names else None)

    found("pycuda", "cuda.bindings")
    assert driver.provider() == "with_pycuda"
    found("cuda.bindings")
    assert driver.provider() == "with_bindings"


@needs_host
def test_cuda_computes_only_where_it_is_asked_for(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "open_driver", lambda image: HostDriver())
    assert kernels.resolve("auto") in ("cpp", "numpy")
    assert kernels.feature_stream("cuda", scale(), 6, 500.0).impl == "cuda"
    rows = wild(20, 9)
    have = kernels.batch(rows, scale(), 500.0, 5, "cuda")
    agree(oracle.batch(rows, scale(), 500.0, 5), have)


def test_a_binding_that_breaks_is_a_device_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def open_device(image: Any) -> Any:
            raise RuntimeError("cuInit failed: unknown error")

    monkeypatch.setattr(driver, "devices", lambda: 1)
    monkeypatch.setattr(driver, "import_module", lambda name: Broken)
    with pytest.raises(DeviceError, match=r"by pycuda.*cuInit failed"):
        driver.open_driver(compiled.image, "with_pycuda")


def test_names_of_cuda_bindings_that_the_driver_uses() -> None:
    """The contract: each `cu.X` in the source exists in the real package, which needs no driver."""
    cu = pytest.importorskip("cuda.bindings.driver", reason="wants cuda-bindings")
    source = (build.HERE / "with_bindings.py").read_text()
    names = set(re.findall(r"cu\.((?:cu|CU)\w+)", source))
    assert len(names) > 20
    for name in names:
        assert hasattr(cu, name), name
    for name in re.findall(r"at\.(CU_\w+)", source):
        assert hasattr(cu.CUdevice_attribute, name), name


@needs_host
def test_the_check_for_a_gpu_passes_and_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    found = selfcheck.check(HostDriver(), 5, windows=1)
    assert len(found) == 7
    assert max(error for error, _ in found.values()) <= 1, found

    class Wrong(HostDriver):
        """Forgets to launch every batch: what was poisoned stays."""

        def launch(self, kernel: str, *rest: Any) -> None:
            if kernel == "headway_stream":
                super().launch(kernel, *rest)

        def capture(self, work: Any) -> Any:
            made = super().capture(work)
            if made.work:  # not the empty one, by which the check finds out whether there are any
                raise DeviceError("900")
            return made

    wrong = selfcheck.check(Wrong(), 5, windows=1)
    right = [case for case, (error, _) in wrong.items() if error <= 1]
    assert right == ["stream, plain launch"], wrong


@needs_host
def test_what_is_measured_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    effort = {"windows": 4, "ticks": 5, "repeats": 3}
    assert main.report(HostDriver(), 7, tmp_path, **effort) == 0
    said = capsys.readouterr().out
    assert "WRONG" not in said
    for what in ("device copy", "of the copy's bandwidth", "tick, graph, p50", "target <= 15"):
        assert what in said
    content = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert content["kernels"] == build.digest()
    assert content["seed"] == 7
    assert all(n["value"] > 0 for n in content["numbers"].values())
    if native.module("auto") is not None:
        assert set(content["crossover_us"]) == {"1", "4"}
        assert any("the CPU is faster" in note for note in content["notes"])  # it emulates


def test_without_a_gpu_the_command_says_so_from_a_bare_source_tree() -> None:
    """As on a machine where nothing is installed but NumPy: no site packages of this environment
    are needed but those."""
    root = Path(__file__).resolve().parent.parent
    numpy = Path(np.__file__).parent.parent
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]; sys.path.append(sys.argv[2])\n"
        "for m in ('tyro', 'rich', 'msgspec', 'headway.kernels._native'): sys.modules[m] = None\n"
        "from headway.kernels.cuda.__main__ import main; sys.exit(main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(root / "src"), str(numpy)],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip
    if cuda.missing():
        assert done.returncode == 0, done.stderr
        assert "wanted a CUDA device" in done.stdout or "binding" in done.stdout
    else:
        pytest.skip("a CUDA device is here: `make gpu` is the test")


def test_the_gpu_wins_from_where_it_wins_with_all_more_and_packing_counts() -> None:
    slower, faster, packs = (0.0, 9.0, 5.0), (1.0, 2.0, 5.0), (4.0, 2.0, 5.0)
    assert measure.verdict({1: faster, 4: slower, 16: faster, 64: faster}).startswith("from 16 on")
    assert measure.verdict({1: faster, 4: packs}) == "the CPU is faster with 4"


@pytest.mark.parametrize(
    ("found", "code"), [(Missing("no nvcc"), 0), (DeviceError("719"), DeviceError.exit_code)]
)
def test_kernels_that_are_missing_stop_no_other_measurement(
    found: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make gpu` goes on to the engines, which want no nvcc."""

    def opened(*_: object) -> Any:
        raise found

    monkeypatch.setattr(main.cuda, "missing", lambda: "")
    monkeypatch.setattr(main, "open_driver", opened)
    assert main.main([]) == code
    assert str(found) in "".join(capsys.readouterr())


def test_a_seed_of_zero_is_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(main.cuda, "missing", lambda: "")
    monkeypatch.setattr(main, "open_driver", lambda *_: None)
    monkeypatch.setattr(main, "report", lambda driver, seed, out: seeds.append(seed) or 0)
    assert main.main(["--seed", "0"]) == 0
    assert seeds == [0]


@needs_host
def test_the_benchmark_measures_what_the_command_does() -> None:
    found = gpu.on(HostDriver(), 0.001)
    assert {n.name for n in found.numbers} >= {"tick, graph, p50", "batch, of the copy's bandwidth"}
    if cuda.missing():
        assert gpu.measure(0.01).skipped == cuda.missing()
