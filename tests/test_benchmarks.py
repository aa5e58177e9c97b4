"""Every benchmark runs and says what it should; how fast is not a matter of tests."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from headway import plugins
from headway.benchmarks import __main__ as cli
from headway.benchmarks._findings import Findings, Number
from headway.benchmarks.loop_rate import Lateness
from headway.clock import Tick

TINY = 0.004
# In-process ones; the others start `headway run` and take seconds by themselves.
QUICK = ("allocations", "camera", "features", "parts")


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
    assert log.us.tolist() == [3.0, 2005.0]
    assert log.missed == 2


def test_command_line_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.json"
    assert cli.benchmarks(("parts",), json=out, effort=TINY) == 0
    content = json.loads(out.read_text())
    assert set(content["benchmarks"]) == {"parts"}
    assert content["machine"]["cores"]
    printed = capsys.readouterr().out
    assert "guard.apply" in printed
    assert "targets met" in printed


def test_machine_label() -> None:
    assert (
        cli.label("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", 4)
        == "intel-xeon-platinum-8481c-4"
    )
    assert cli.label("AMD EPYC", 2) == "amd-epyc-2"
