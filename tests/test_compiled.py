"""C++ computes where it is built, else Python; a stale build is an error, never passed over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from guard_rig import BOX, LIMITS, T
from kernels_rows import scale

from headway import compiled, kernels
from headway.drivers.model import load
from headway.edge.control.audit import Audit
from headway.edge.control.payload import Payload, ToolConfig
from headway.edge.control.row import Row
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.motion.chunks import ChunkPlayer
from headway.edge.motion.smoother import PythonSmoother, smoother
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import Missing
from headway.tools.doctor import probes
from headway.tools.doctor.doctor import Host

UR5E = load("ur5e")

Make = Callable[[compiled.Impl], str]


def chain(impl: compiled.Impl) -> str:
    return replace(UR5E.chain, impl=impl).computed_by


def guard(impl: compiled.Impl) -> str:
    return Guard(GuardConfig(**BOX), LIMITS, T, lambda q: np.zeros(3), impl).computed_by


def player(impl: compiled.Impl) -> str:
    return "python" if isinstance(smoother(3, [2], impl), PythonSmoother) else "cpp"


def row(impl: compiled.Impl) -> str:
    return Row(6, 0, 1.0, impl).computed_by


def payload(impl: compiled.Impl) -> str:
    return Payload(ToolConfig(), impl).computed_by


def audit(impl: compiled.Impl) -> str:
    made = Audit(True, impl)
    made.close()
    return made.computed_by


def features(impl: compiled.Impl) -> str:
    asked: kernels.Impl = "numpy" if impl == "python" else impl
    found = kernels.feature_stream(asked, scale(), 6, 500.0).impl
    return "python" if found == "numpy" else found


each = pytest.mark.parametrize(
    ("name", "make"),
    [
        ("headway.drivers._kinematics", chain),
        ("headway.edge.guard._guard", guard),
        ("headway.edge.motion._chunks", player),
        ("headway.edge.recording._tick", row),
        ("headway.edge.recording._tick", payload),
        ("headway.edge.recording._tick", audit),
        ("headway.kernels._native", features),
    ],
)


@each
def test_what_is_not_built_is_computed_in_python(
    name: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert make("auto") == make("python") == "python"
    with pytest.raises(Missing, match=rf"no {name}: build it .*pip install -e"):
        make("cpp")


@each
@pytest.mark.parametrize("stale", [SimpleNamespace(VERSION="0" * 64), SimpleNamespace()])
def test_a_build_of_other_sources_is_refused(
    name: str, make: Make, stale: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, stale)
    for impl in ("auto", "cpp"):
        with pytest.raises(Missing, match=r"of version \w+, found \w+: .*rebuild it by `make`"):
            make(impl)
    assert make("python") == "python"


def test_a_module_that_does_not_load_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("undefined symbol")

    monkeypatch.setattr(compiled, "import_module", broken)
    with pytest.raises(Missing, match=r"does not load: rebuild it .*undefined symbol"):
        chain("auto")


def test_player_and_recorder_say_what_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("headway.edge.motion._chunks", "headway.edge.recording._tick"):
        monkeypatch.setitem(sys.modules, name, None)
    assert ChunkPlayer(3, T).computed_by == "python"
    channels = [Channel("/log", kind="log")]
    with Recorder(tmp_path / "a.mcap", channels, lossless=True) as recorder:
        assert recorder.computed_by == "python"
    assert recorder.computed_by == "python"  # still known when it is closed


def test_the_doctor_tells_a_stale_build_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "headway.edge.guard._guard", SimpleNamespace(VERSION=-1))
    monkeypatch.setitem(sys.modules, "headway.drivers._kinematics", None)
    found = {f.name: f for f in probes.compiled(Host())}
    stale, none = found["C++ guard"], found["C++ kinematics"]
    assert (stale.status, stale.required) == ("missing", True)
    assert "rebuild" in stale.next_step
    assert (none.status, none.required) == ("warn", False)
