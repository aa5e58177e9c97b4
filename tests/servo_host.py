"""A host of a line of servos that is killed while it moves the arm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from headway.child import environment

_PROGRAM = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
tests = importlib.import_module(sys.argv[2])
arm, jaw = tests.devices(sys.argv[3], Path(sys.argv[4]), **json.loads(sys.argv[5]))
arm.open(20.0); arm.activate(); q = tests.fresh(arm).value.q
while True:
    q[0] = min(q[0] + 0.002, 1.0)
    arm.command(q, deadline_ns=0); tests.fresh(arm)
    print(q[0], flush=True)
"""


def kill_in_motion(module: str, uri: str, calibration: Path, **keys: float) -> None:
    """Let a process move the arm that `devices` of the tests in `module` makes of `uri`,
    `calibration` and `keys`, and kill it after 20 commands."""
    here = str(Path(__file__).parent)
    args = [here, module, uri, str(calibration), json.dumps(keys)]
    host = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *args], stdout=subprocess.PIPE, env=environment()
    )
    assert host.stdout is not None
    for _ in range(20):
        assert host.stdout.readline()
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
