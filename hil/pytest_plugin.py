"""The conformance suite under pytest: each promise of each device is a test.

    pytest -p headway.hil.pytest_plugin --pyargs headway.hil --robot ROBOT.toml
    pytest -p headway.hil.pytest_plugin --pyargs headway.hil

The second line checks every driver kind, each against its partner. The options are those of
`headway hil`. The plugin has to be named: an entry point would have every run of pytest, in any
environment with Headway, rewrite Headway's modules, and stop where warnings are errors and Headway
is installed as editable.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headway.errors import ConfigError, Missing
from headway.hil.suite import robots, runner
from headway.hil.suite.outputs import line
from headway.hil.suite.promises import Promise, of
from headway.hil.suite.results import QUICK, Bounds, Result
from headway.hil.suite.subject import Subject


class Bench:
    """The devices of a session; the one that is being tested is entered."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._now: Subject | None = None

    def check(self, subject: Subject, promise: Promise) -> Result:
        """The result of `promise` of `subject`."""
        if subject is not self._now:
            self.close()
            try:
                subject.__enter__()
            except Missing as e:  # a library that makes its recording
                return Result(subject.name, promise.name, "not applicable", str(e))
            self._now = subject
        return runner.check(subject, promise, self.bounds)

    def close(self) -> None:
        """Leave the device."""
        if self._now is not None:
            self._now.__exit__(None, None, None)
            self._now = None


def pytest_addoption(parser: Any) -> None:
    """The options of the suite, as those of `headway hil`."""
    group = parser.getgroup("headway", "conformance of devices")
    group.addoption("--robot", type=Path, help="run configuration whose devices are checked")
    group.addoption("--move", action="store_true", help="real devices may be moved")
    group.addoption(
        "--allow-hardware", action="store_true", help="faults may be brought about on real lines"
    )
    group.addoption("--quick", action="store_true", help="shorter looks, fewer cycles")


def pytest_generate_tests(metafunc: Any) -> None:
    """One test per device and promise."""
    if "hil_case" not in metafunc.fixturenames:
        return
    config = metafunc.config
    robot = config.getoption("--robot")
    move, hardware = config.getoption("--move"), config.getoption("--allow-hardware")
    try:
        chosen = list(robots.of_all()) if robot is None else robots.of_robot(robot, move, hardware)
    except ConfigError as e:
        raise pytest.UsageError(str(e)) from None
    cases: list[Any] = []
    names: list[str] = []
    for one in chosen:
        if isinstance(one, Result):
            cases.append((one, None))
            names.append(f"{one.device}-{one.promise}")
            continue
        for promise in of(one.folder):
            if promise.faults and one.wire is None:
                continue
            cases.append((one, promise))
            names.append(f"{one.name}-{promise.name}")
    metafunc.parametrize("hil_case", cases, ids=[n.replace(" ", "_") for n in names])


@pytest.fixture(scope="session")
def hil_bench(request: Any) -> Any:
    """The devices, closed at the end."""
    bench = Bench(QUICK if request.config.getoption("--quick") else Bounds())
    yield bench
    bench.close()


@pytest.fixture
def hil_result(hil_case: Any, hil_bench: Bench, record_property: Any) -> Result:
    """The result of the case, which is skipped where the promise is not applicable."""
    subject, promise = hil_case
    result = subject if promise is None else hil_bench.check(subject, promise)
    for name, value in result.numbers.items():
        record_property(name, value)
    if result.verdict == "not applicable":
        pytest.skip(result.said)
    print(line(result, 500))
    return result
