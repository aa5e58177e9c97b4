"""Clients of devices that nobody here wrote, in an environment of their own, `.venv-hil`."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-hil" / "bin" / "python"
DEADLINE_S = 120.0  # for a machine that does much else


@functools.lru_cache
def has(package: str) -> bool:
    """Whether the environment has the package that is imported as `package`."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", code]).returncode == 0


def needs(package: str) -> pytest.MarkDecorator:
    """Skips a test where `package` is not there."""
    reason = f"no {package} in {PYTHON.parents[1].name}: `make hil-peers` installs it"
    return pytest.mark.skipif(not has(package), reason=reason)


def ask(script: str, *args: object, **given: Any) -> Any:
    """What the program `script` beside this file prints as JSON when it is run with `args`; `given`
    comes to it as JSON."""
    done = subprocess.run(
        [PYTHON, "-W", "ignore", HERE / script, *map(str, args), json.dumps(given)],
        capture_output=True, text=True, timeout=DEADLINE_S, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
