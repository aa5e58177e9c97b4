"""No process of Headway asks the network for anything, or writes into the user's home, on its own.

ONNX Runtime is the dependency that would: as it comes, it makes a folder below ~/.cache at once and
asks a name server some seconds later. The folder is what these tests look for, and one of them that
it would be there without the switch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from null_robot import NO_REALTIME, make_pro, null_table
from test_architecture import ROOT, tracked

from headway.edge.engines.onnx_runtime import SWITCH
from headway.tools.doctor import probes as doctor_probes


def at_home(home, *argv, check=True):
    """Run Python with an empty home; the files that it left there."""
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("XDG_") and k != SWITCH}
    env = kept | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, *map(str, argv)], env=env, capture_output=True, text=True, timeout=200
    )
    assert not check or done.returncode == 0, done.stderr
    return sorted(str(p.relative_to(home)) for p in home.rglob("*"))


def test_without_the_switch_onnx_runtime_would_leave_traces(tmp_path):
    model = next(make_pro(tmp_path / "pro").glob("*.onnx"))
    code = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    if not at_home(tmp_path / "home", "-c", code, model):
        pytest.skip("this build of ONNX Runtime has no telemetry")
    opening = "from headway.edge.engines.engine import open_engine"
    code = f"import sys; {opening}; open_engine('ort', sys.argv[1])"
    assert at_home(tmp_path / "quiet", "-c", code, model) == []


@pytest.mark.parametrize("clock", ["lock-step", "real time"])
def test_a_run_leaves_nothing_at_home(write, both, tmp_path, clock):
    """With the policy here, and in a process of its own."""
    loop = {"tare_s": 0.01, "max_age_s": 5.0, "camera_max_age_s": 5.0}
    table = null_table()["task"] | {"limit_s": 0.25}
    path = write(task=table, loop=loop, realtime=NO_REALTIME, **both)
    arguments = ["run", "--config", path, "--episodes", 1, "--out", tmp_path / "out", "--report"]
    arguments += ["--realtime"] if clock == "real time" else []
    assert at_home(tmp_path / "home", "-m", "headway", *arguments) == []
    recording = tmp_path / "out" / "episode_0.mcap"
    again = ["replay", recording, "--pro", both["pro"]["bundle"]]
    assert at_home(tmp_path / "home again", "-m", "headway", *again, check=False) == []


def test_the_doctor_looks_without_leaving_traces_and_says_that_telemetry_is_off(tmp_path):
    assert at_home(tmp_path / "home", "-c", doctor_probes.PROVIDERS) == []

    class Host:
        def version(self, name):
            return "1.2"

        def python(self, code):
            return "CPUExecutionProvider"

    (finding,) = doctor_probes.inference(Host())
    assert "telemetry is off" in finding.found


def test_one_module_imports_onnx_runtime():
    """The others ask it, so that none forgets the switch."""
    wanted = re.compile(
        r"^\s*(import|from)\s+onnxruntime|import_module\(.onnxruntime|__import__\(.onnxruntime"
        r"|[\"\'](import|from) onnxruntime",
        re.MULTILINE,
    )
    found = {
        str(p.relative_to(ROOT))
        for p in tracked()
        if p.suffix in (".py", ".toml", ".yml", "") and wanted.search(p.read_text(errors="replace"))
    }
    assert found - {"tests/test_quiet.py"} == {"edge/engines/onnx_runtime.py"}
    assert Path(ROOT / "edge/engines/onnx_runtime.py").is_file()
