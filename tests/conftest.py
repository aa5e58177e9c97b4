"""What several test files need; how it is made is in `null_robot.py`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import tomli
from null_robot import make_policy, make_pro, null_table, toml

from headway import config
from headway.edge.control.settings import Settings

# The same examples for everybody, on every run; `make fuzz` chooses the other profile and draws at
# random. How long an example takes depends on what else the machine does: no verdict hangs on it.
hypothesis.settings.register_profile("headway", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile(
    "fuzz", deadline=None, max_examples=1000, database=None, print_blob=True
)
hypothesis.settings.load_profile("headway")

# A shell that runs `make test &` in a script has it ignore Ctrl-C, `nohup make test` has it ignore
# a hangup, and a run respects what it is started with: the tests of signals start theirs with what
# a terminal gives.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--wheel-venv", type=Path, help="environment with Headway's wheel and nothing of this tree"
    )
    parser.addoption(
        "--tensorrt-venv", type=Path, help="environment with packages of NVIDIA, see the Makefile"
    )


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles `policy` and `pro`; not to be written to."""
    root = tmp_path_factory.mktemp("bundles")
    make_policy(root / "policy")
    make_pro(root / "pro")
    return root


@pytest.fixture
def null_settings() -> Callable[..., Settings]:
    """`null_settings(task={...})`: settings of null devices, with sections replaced."""
    return lambda **changes: config.decode(null_table(**changes), Settings, "test")


@pytest.fixture
def write(tmp_path):
    """Write a configuration of null devices, with sections replaced; returns its path."""

    def write(**changes):
        path = tmp_path / "robot.toml"
        table = null_table(**changes)
        path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
        assert tomli.loads(path.read_text()) == table
        return path

    return write


@pytest.fixture
def both(bundles):
    return {
        "policy": {"bundle": str(bundles / "policy")},
        "pro": {"bundle": str(bundles / "pro"), "features": "numpy"},
    }


@pytest.fixture
def opened():
    """`opened(url)`: a policy, closed at the end."""
    from remote_rig import WAIT, Time

    from headway.edge.policy.remote.client import RemotePolicy

    made = []

    def opened(url, layout=None, **kwargs):
        made.append(RemotePolicy(url, layout, **{"timeout_s": WAIT, "clock": Time(), **kwargs}))
        return made[-1]

    yield opened
    for policy in made:
        policy.close()
