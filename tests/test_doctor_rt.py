"""`headway doctor --rt` on clocks that are made up: which rate a machine holds, in words."""

from __future__ import annotations

import gc
import io
import json

import pytest
from rich.console import Console
from test_realtime import Fake

from headway.clock import VirtualClock
from headway.errors import ConfigError
from headway.tools.doctor.cyclic import punctuality
from headway.tools.doctor.rt import doctor_rt_command, measure, rates_of


class Late(VirtualClock):
    """Wakes `late_ns` after what was asked for, and every `every`-th time `worst_ns` after."""

    def __init__(self, late_ns, worst_ns=0, every=100):
        super().__init__(1)
        self.late_ns, self.worst_ns, self.every, self.n = late_ns, worst_ns, every, 0

    def sleep_until(self, t_ns):
        self.n += 1
        super().sleep_until(t_ns + (self.late_ns if self.n % self.every else self.worst_ns))


def test_lateness_is_what_the_clock_was_late():
    found = punctuality(1000.0, 2.0, Late(7_000, 30_000))
    assert len(found.late_us) == 2000
    assert (found.percentile(50), found.percentile(99.9), found.missed) == (7, 30, 0)
    assert found.held
    assert found.verdict == (
        "holds 1000 Hz: p99.9 lateness 30 us is 3.0 % of the period, none missed"
    )
    assert gc.isenabled()


def test_skipped_deadlines_are_missed_and_late():
    found = punctuality(1000.0, 2.0, Late(0, 2_300_000))
    assert not found.held
    assert found.late_us.max() == 2300
    assert 30 < found.missed < 45  # two, each of some twenty times
    assert len(found.late_us) + found.missed == pytest.approx(2000, abs=3)
    assert "of 200" in found.verdict or "of 199" in found.verdict
    assert found.verdict.startswith("does not hold 1000 Hz: p99.9 lateness 2300 us is 230.0 %")


def test_a_late_machine_holds_the_slower_rate_only(tmp_path):
    measured = measure(
        (100.0, 1000.0), 1.0, clock=Late(150_000), sleeper=Late(900_000), system=Fake(tmp_path)
    )
    assert [p.held for p in measured.ours] == [True, False]
    assert [p.held for p in measured.plain] == [True, False]
    assert measured.summary == "this machine holds 100 Hz"
    assert any("SCHED_FIFO: granted" in line for line in measured.granted)
    console = Console(file=io.StringIO(), width=100)
    assert doctor_rt_command(1.0, "100,1000", False, measured=measured, console=console) == 0
    text = console.file.getvalue()
    for word in ("does not hold 1000 Hz", "holds 100 Hz", "plain sleep", "150.0", "900.0"):
        assert word in text


def test_a_machine_that_holds_nothing(tmp_path):
    measured = measure((1000.0,), 0.5, clock=Late(400_000), sleeper=Late(0), system=Fake(tmp_path))
    console = Console(file=io.StringIO(), width=100)
    assert doctor_rt_command(1.0, "1000", True, measured=measured, console=console) == 1
    found = json.loads(console.file.getvalue())
    assert found["summary"].startswith("this machine holds none of 1000 Hz")
    assert [(r["loop"], r["held"], r["p99"]) for r in found["rates"]] == [
        ("real-time setup", False, 400.0),
        ("plain sleep", True, 0.0),
    ]


@pytest.mark.parametrize("text", ["", "fast", "500,", "0", "-3", "nan", "1e9"])
def test_nonsense_rates(text):
    with pytest.raises(ConfigError, match="wanted --hz"):
        rates_of(text)


def test_rates_rise_and_seconds_are_positive():
    assert rates_of("1000,250") == [250.0, 1000.0]
    with pytest.raises(ConfigError, match="--seconds"):
        doctor_rt_command(0.0, "500", False)
