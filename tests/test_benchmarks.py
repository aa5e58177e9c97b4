"""Every benchmark runs and says what it should; how fast is not a matter of tests."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from headway import plugins
from headway.benchmarks import __main__ as cli
from headway.benchmarks import host_killed
from headway.benchmarks._findings import Findings, Number, Table
from headway.benchmarks._pacers import lerobot
from headway.benchmarks.loop_overhead import Cost
from headway.benchmarks.loop_rate import Lateness
from headway.benchmarks.pacing import contenders, error, row
from headway.clock import Tick
from headway.edge.control.audit import STAGES
from headway.errors import ConfigError
from headway.hil.journal import Entry

TINY = 0.004
# In-process ones; the others start `headway run` and take seconds by themselves.
QUICK = (
    "actions",
    "allocations",
    "camera",
    "candidates",
    "device_codecs",
    "features",
    "images",
    "parts",
)


def test_each_module_is_a_benchmark() -> None:
    for name in plugins.kinds("benchmarks"):
        assert callable(plugins.load("benchmarks", name).measure)


@pytest.mark.parametrize("name", QUICK)
def test_findings_are_numbers(name: str) -> None:
    _check(plugins.load("benchmarks", name).measure(TINY))


@pytest.mark.parametrize("name", sorted({*plugins.kinds("benchmarks")} - {*QUICK}))
@pytest.mark.slow
def test_findings_of_the_longer_ones(name: str) -> None:
    _check(plugins.load("benchmarks", name).measure(0.05))


def _check(found: Findings) -> None:
    assert found.title
    assert bool(found.skipped) != bool(found.numbers or found.tables)
    for n in found.numbers:
        assert math.isfinite(n.value), n
    for table in found.tables:
        for name, values in table.rows:
            assert len(values) == len(table.columns), name
            assert all(math.isfinite(v) for v in values), name


def test_a_target_is_met_or_missed() -> None:
    assert Number("a", 1.0, "s").met is None
    assert Number("a", 1.0, "s", 1.0).met is True
    assert Number("a", 1.1, "s", 1.0).met is False
    assert Number("a", 9.9, "x", 10.0, at_most=False).met is False
    assert Number("a", math.nan, "x", 10.0).met is False


def test_a_skipped_tick_is_late_by_whole_periods() -> None:
    log = Lateness(1_000_000, 10)
    log.timing(0, Tick(0, 0, 77_000))  # the first one begins when it likes
    log.timing(1_000_000, Tick(1, 1_000_000, 3_000))
    log.timing(4_000_000, Tick(4, 4_000_000, 5_000, missed=2))
    # Ticks 2 and 3 were due as well, and neither began before tick 4 did.
    assert log.us.tolist() == [3.0, 2005.0, 1005.0, 5.0]
    assert log.missed == 2
    cost = Cost(4)
    stamps = [0] * (len(STAGES) + 1)
    for index, late_ns, missed in ((0, 77_000, 0), (1, 3_000, 0), (4, 5_000, 2)):
        cost.note(stamps, Tick(index, 0, late_ns, missed=missed))
    assert cost.late.tolist() == [3.0, 4005.0, 2005.0, 5.0]  # at 500 Hz
    assert cost.overhead.shape == (2,)
    assert cost.stages.shape == (len(STAGES), 2)


def test_a_device_that_stops_only_sometimes_misses_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = Entry(0, "stopped", "no command")
    turns = [(stopped, 30.0, ""), (Entry(0, "fault", "a joint"), 10.0, ""), (None, math.nan, "")]
    monkeypatch.setattr(host_killed, "DEVICES", {"ur": ({}, "stopped", 0.1)})
    for some, met in ((turns[:1] * 3, True), (turns, False), (turns[1:], False)):
        left = iter(some)
        monkeypatch.setattr(host_killed, "_killed", lambda *_, left=left: next(left))
        found = host_killed.measure(len(some) / host_killed.TURNS)
        (number,) = found.numbers
        assert number.met is met
        assert bool(found.tables[0].rows) == (turns[0] in some)
        assert any("found fault" in note for note in found.notes) == (turns[1] in some)


class Made:
    """Ticks that began at `at` [us]."""

    def __init__(self, at: list[float], index: list[int]) -> None:
        self.at, self.index = np.array(at) * 1000, np.array(index)


def test_pacing_is_judged_against_a_grid() -> None:
    drifts = Made([5, 1015, 2025, 3035], [0, 1, 2, 3])  # 1 % slow
    assert error([drifts], 1000.0) == pytest.approx(100 * (1 - 1 / 1.01))
    assert row([drifts], 1000.0)[2] == pytest.approx(30)
    assert row([drifts], 1000.0)[3] == pytest.approx(10)
    skips = Made([0, 1000, 3000, 4000], [0, 1, 3, 4])  # on the grid, a tick less
    assert error([skips], 1000.0) == pytest.approx(25)
    assert row([skips], 1000.0)[::2] == (0, 1000)  # the one that was skipped is late
    assert error([Made([0, 1000, 2000], [0, 1, 2])] * 2, 1000.0) == pytest.approx(0)


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lerobot.utils.robot_utils", "openpi_client.runtime.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    found, skipped = contenders()
    assert list(found) == ["Headway", "Headway, no spinning"]
    assert [s.split(" skipped: wanted ")[0] for s in skipped] == ["LeRobot", "openpi"]
    assert all("pip install --no-deps" in s for s in skipped)


def test_a_peer_that_is_installed_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    module = types.ModuleType("robot_utils")
    module.precise_sleep = slept.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lerobot.utils.robot_utils", module)
    assert lerobot()(100.0, 7).index.tolist() == list(range(7))
    assert len(slept) == 7
    assert all(0 < s <= 0.01 for s in slept)


def test_command_line_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.json"
    assert cli.benchmarks(("parts",), json=out, effort=TINY) == 0
    content = json.loads(out.read_text())
    assert set(content["benchmarks"]) == {"parts"}
    assert content["machine"]["cores"]
    printed = capsys.readouterr().out
    assert "guard.apply" in printed
    assert "targets met" in printed


def test_what_was_not_measured_is_null_in_json() -> None:
    found = Findings(
        "t", (Number("a", math.nan, "s", 1.0),), (Table("u", ("x",), (("r", (math.inf,)),)),)
    )
    (made,) = json.loads(cli.as_json({}, 1.0, {"b": found}), parse_constant=float)[
        "benchmarks"
    ].values()
    assert made["numbers"][0]["value"] is None
    assert made["numbers"][0]["met"] is False
    assert made["tables"][0]["rows"] == [["r", [None]]]
    with pytest.raises(ConfigError, match="--effort above 0, found 0"):
        cli.benchmarks(("parts",), effort=0.0)


def test_machine_label() -> None:
    assert (
        cli.label("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", 4)
        == "intel-xeon-platinum-8481c-4"
    )
    assert cli.label("AMD EPYC", 2) == "amd-epyc-2"
