"""`headway score` at many rates: the same features of the same motion, or said which it cannot."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pro_head import make_head
from score_files import WRENCH, Q, from_arrays, mapping, npz
from score_motion import motion, motion_map, sampled

from headway.errors import SpecMismatch
from headway.kernels import spec
from headway.tools.score.grid import Resampled
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.samples import Samples
from headway.tools.score.scoring import RATE_TOLERANCE, Scored, score_file
from headway.tools.score.steps import Head, Steps, every, open_head
from headway.tools.score.telemetry import telemetry_of

ROOT = Path(__file__).resolve().parents[1]
# How far a feature may be from that of 500 ticks a second, as a share of the feature's largest
# value, for 95 % of the time. Contacts and closes begin up to one tick later, a derivative's
# baseline of 10 ms is one tick where ticks are slower, and a window of 0.512 s is 15 ticks of 30
# Hz, 0.5 s: where a force rises within 0.1 s, slopes and extremes move with the window's edge.
TOLERANCE = {30: 0.25, 50: 0.09, 100: 0.07, 125: 0.04, 200: 0.03, 1000: 0.02}
FLOOR = 2e-3  # of features that stay at 0 but for rounding


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Of the motion at 500 Hz, at every tick."""
    path = sampled(tmp_path_factory.mktemp("rates") / "a.npz", 500)
    always = open_head(make_head(path.parent / "head", rate_hz=500.0).path)
    return score_file(path, motion_map(), always)


@pytest.mark.parametrize("hz", sorted(TOLERANCE))
def test_what_a_rate_can_carry_does_not_depend_on_it(
    tmp_path: Path, reference: Scored, hz: int
) -> None:
    """Ticks are at the file's own rate; what is left at that rate means the same at all of them."""
    scored = score_file(sampled(tmp_path / "a.npz", hz), motion_map(), None)
    ticks = min(hz, 500)
    assert scored.telemetry.hz == ticks
    bits = [*[True] * spec.N_GROUPS, *[False] * len(spec.MASK_RATES)]
    np.testing.assert_array_equal(scored.carried, spec.feature_mask(bits, ticks))
    rates = scored.mask[:, spec.N_GROUPS :]
    assert (rates == np.array(spec.rate_bits(ticks))).all()
    t = scored.t[scored.t < reference.t[-1] - 0.2]
    keep = t > 0.6  # until the windows are full
    at = np.rint(t[keep] * 500).astype(int)
    found, want = scored.features[: len(t)][keep], reference.features[at]
    largest = np.maximum(np.abs(want).max(axis=0), FLOOR)
    off = np.quantile(np.abs(found - want), 0.95, axis=0) / largest
    wrong = {
        name: round(float(o), 3)
        for name, o, kept in zip(spec.NAMES, off, scored.carried, strict=True)
        if kept and o > TOLERANCE[hz] and not name.startswith("band")
    }
    assert not wrong
    # The motion has nothing between 50 and 200 Hz: nothing but interpolation could put it there.
    band = [spec.INDEX[f"band.{s}"] for s in ("last", "mean", "rms", "max")]
    assert (np.abs(found - want)[:, band] < 0.1).all()  # [N] of a contact of 25 N
    assert (scored.features[:, ~scored.carried] == 0).all()
    said = " ".join(scored.notes)
    there = set(spec.MASK_FIELDS) - set(scored.masked)
    for i, (name, needs) in enumerate((f.name, f.needs) for f in spec.FEATURES):
        if not there.issuperset(m for m in needs if m in spec.MASK_FIELDS):
            continue
        channel = name.partition(".")[0]
        assert scored.carried[i] or f" {channel} (" in said or f" {name} (" in said
    assert bool((~scored.carried).any()) == (hz < 400)


def test_a_slow_channel_beside_a_fast_one_makes_no_jerk(tmp_path: Path) -> None:
    """Joints at 125 Hz beside a sensor of 500 Hz: the steps between samples are not the motion."""
    t = np.arange(3001) / 500
    fields = motion(t)
    source = _Parts(
        tmp_path / "a.npz",
        {
            "q": (t[::4], fields["q"][::4]),
            "wrench": (t, fields["wrench"]),
        },
    )
    others = tuple(n for n in fields if n not in ("q", "wrench"))
    data = telemetry_of(source, motion_map(others))
    assert data.rates == {"q": 125.0, "wrench": 500.0}
    q = data.rows["q"]
    known = np.isfinite(q).all(axis=1)
    assert np.abs(q - fields["q"])[known].max() < 1e-4
    third = np.diff(q[known], n=3, axis=0)
    assert np.abs(third).max() < 1.5 * np.abs(np.diff(fields["q"], n=3, axis=0)).max()


class _Parts:
    """A source whose channels have times of their own."""

    notes: list[str] = []  # noqa: RUF012
    odd = 0
    episode = ""

    def __init__(self, path: Path, parts: dict[str, tuple[Any, Any]]) -> None:
        self.path, self._parts = path, parts

    def keys(self) -> list[str]:
        return list(self._parts)

    def scale(self) -> None:
        return None

    def channels(self, wanted: Any) -> Any:
        from headway.tools.score.source import Raw

        out = {}
        for name in wanted:
            t, x = self._parts[name]
            made = from_arrays(np.rint(t * 1e9).astype(np.int64), x)
            rate = float(round((len(t) - 1) / (t[-1] - t[0])))
            out[name] = Raw(made, ((name, None),) * x.shape[1], rate)
        return out

    def times(self, key: str, topic: str | None) -> Any:
        raise AssertionError

    def words(self, key: str, topic: str | None) -> Any:
        raise AssertionError


def test_a_hit_of_one_sample_survives_thinning(tmp_path: Path) -> None:
    wrench = np.full((1500, 6), 0.1)
    wrench[703, 0] = 40.0  # 2 ms, between two ticks of 100 Hz
    path = npz(tmp_path / "a.npz", 1500, 500.0, q=None, wrench=wrench)
    w = Channel(key="wrench", frame="tcp", force="on tool")
    scored = score_file(path, mapping({"wrench": w}, time=Time(key="t", rate_hz=100.0)), None)
    rows = scored.telemetry.rows
    assert len(rows) == 301
    assert rows["wrench"][:, 0].max() == 40.0
    assert np.count_nonzero(rows["wrench"][:, 0] > 1.0) == 1
    assert scored.summary.force == pytest.approx(40.0, abs=0.01)
    assert any("the largest in contact" in n for n in scored.notes)


@pytest.mark.parametrize("kind", ["10 ms", "float32"])
def test_stamps_of_a_coarse_clock_lose_no_sample(tmp_path: Path, kind: str) -> None:
    t = np.arange(1500) / 500.0
    stamps = np.floor(t * 100) / 100 if kind == "10 ms" else (40_000.0 + t).astype(np.float32)
    wrench = np.full((1500, 6), 0.1)
    wrench[700:702, 0] = 40.0
    path = npz(tmp_path / "a.npz", t=stamps, q=np.sin(t)[:, None] * np.ones(6), wrench=wrench)
    scored = score_file(path, mapping(), None)
    assert scored.telemetry.rates["q"] == pytest.approx(500.0, rel=0.005)
    assert scored.summary.force == pytest.approx(40.0, rel=0.05)
    assert any("resolution of" in n and "samples a second" in n for n in scored.notes)
    jerk = scored.feature("jerk.max")[30:]
    assert jerk.max() < 0.02  # that of the sine is 0.003; of times as they are it would be 50


def test_samples_that_are_missing_or_there_twice_are_counted(tmp_path: Path) -> None:
    t = np.arange(1000) / 100.0
    q = np.sin(t)[:, None] * np.ones(6)
    wrench = np.random.default_rng(1).normal(size=(1000, 6))
    twice = np.sort(np.r_[np.arange(1000), [200, 300, 300]])
    keep = twice[(twice < 500) | (twice > 520)]
    path = npz(tmp_path / "a.npz", t=t[keep], q=q[keep], wrench=wrench[keep])
    notes = " | ".join(score_file(path, mapping(), None).notes)
    assert "3 of 982 samples are there twice" in notes
    assert "21 of 1000 samples are missing at 100 Hz, the longest gap 0.220 s at 4.990 s" in notes


def test_ticks_before_all_channels_are_there_do_not_count(tmp_path: Path) -> None:
    w = np.full((1000, 6), 0.1)
    w[:100, 0] = 77.0  # before the joints come
    q = np.where(np.arange(1000)[:, None] < 120, np.nan, 0.1 * np.ones((1000, 6)))
    scored = score_file(npz(tmp_path / "a.npz", 1000, 500.0, q=q, wrench=w), mapping(), None)
    assert scored.telemetry.ready == 120
    assert scored.summary.onsets == 0
    assert "q" not in scored.masked
    # it was measured all the same, and needs no joints
    assert scored.summary.force == pytest.approx(77.0, rel=1e-4)
    assert not any("its first value comes" in n for n in scored.notes)  # after 0.24 s


def test_what_comes_on_change_keeps_nothing_waiting(tmp_path: Path) -> None:
    """A flag of a stop that comes at the end: the contact before it counts."""
    w = np.full((1000, 6), 0.1)
    w[400:500, 0] = 30.0
    stop = np.full(1000, np.nan)
    stop[950] = 1.0
    path = npz(tmp_path / "a.npz", 1000, 500.0, wrench=w, stop=stop)
    on_change = mapping(
        {"q": Q, "wrench": WRENCH, "protective_stop": Channel(key="stop", hold_s=np.inf)}
    )
    scored = score_file(path, on_change, None)
    assert (scored.telemetry.ready, scored.summary.onsets) == (0, 1)
    assert not any("its first value comes" in n for n in scored.notes)


def test_a_channel_that_comes_late_is_said_with_what_does_not_count(tmp_path: Path) -> None:
    w = np.full((1000, 6), 0.1)
    w[200:300, 0] = 30.0
    touch = np.where(np.arange(1000) < 600, np.nan, 0.5)
    path = npz(tmp_path / "a.npz", 1000, 500.0, wrench=w, touch=touch)
    late = mapping({"q": Q, "wrench": WRENCH, "touch": Channel(key="touch")})
    scored = score_file(path, late, None)
    assert (scored.telemetry.ready, scored.summary.onsets) == (600, 0)
    (said,) = (n for n in scored.notes if n.startswith("check touch"))
    assert "its first value comes at 1.2 s; onsets, risk, stability and the verdict" in said


@pytest.mark.parametrize("leave_out", [(), ("dq", "twist")])
def test_signals_agree_between_rates_or_the_tool_says_that_they_cannot(
    tmp_path: Path, leave_out: tuple[str, ...]
) -> None:
    head = open_head(ROOT / "models" / "pick_place_pro")
    found = {
        hz: score_file(sampled(tmp_path / f"{hz}.npz", hz, leave_out), motion_map(leave_out), head)
        for hz in (500, 200, 125, 100, 50, 30)
    }
    agree = 0
    for fast, slow in combinations(found.values(), 2):
        t = slow.t[slow.t <= fast.t[-1]]
        at = np.searchsorted(fast.t, t + 1e-6) - 1
        worst = max(
            float(np.abs(fast.signals[k][at] - slow.signals[k][: len(t)]).max())
            for k in ("progress", "stability", "completion", "risk")
        )
        enough = "cannot be told from this file's rate" not in " ".join(slow.notes)
        agree += enough
        assert worst <= RATE_TOLERANCE or not enough
    assert agree  # of some it can be told
    said = {hz: [n for n in s.notes if n.startswith("rate: ")] for hz, s in found.items()}
    assert {hz for hz, notes in said.items() if not notes} == {500}


def declared(path: Path, tick_hz: tuple[float, float], rate_hz: float) -> Head:
    """A head that says at which ticks it was taught."""
    return open_head(make_head(path, rate_hz=rate_hz, tick_hz=tick_hz).path)


@pytest.mark.parametrize(
    ("hz", "tick_hz", "ticks"),
    [
        (20, (20.0, 20.0), 20.0),
        (200, (20.0, 20.0), 20.0),
        (125, (100.0, 500.0), 125.0),
        (30, (100.0, 500.0), 100.0),
        (1000, (1000.0, 1000.0), 1000.0),
    ],
)
def test_ticks_follow_what_the_head_was_taught_at(
    tmp_path: Path, hz: int, tick_hz: tuple[float, float], ticks: float
) -> None:
    head = declared(tmp_path / "head", tick_hz, 20.0)
    scored = score_file(sampled(tmp_path / "a.npz", hz), motion_map(), head)
    assert scored.telemetry.hz == ticks
    assert np.diff(scored.t).mean() == pytest.approx(scored.every / ticks)
    assert not any(n.startswith("rate: ") for n in scored.notes)  # it was taught at this rate
    # What the samples cannot carry stays masked, however often they are brought to ticks.
    rates = scored.mask[:, spec.N_GROUPS :]
    assert (rates == np.array(spec.rate_bits(min(hz, ticks)))).all()


def test_a_rate_that_the_mapping_asks_for_and_the_head_was_not_taught_at_is_refused(
    tmp_path: Path,
) -> None:
    head = declared(tmp_path / "head", (20.0, 20.0), 20.0)
    asked = motion_map(time=Time(key="t", rate_hz=200.0))
    with pytest.raises(SpecMismatch, match=r"at 20 Hz; .*a.npz has .* at 200 Hz: train a head"):
        score_file(sampled(tmp_path / "a.npz", 200), asked, head)


def test_a_file_slower_than_the_head_is_brought_to_its_steps(tmp_path: Path) -> None:
    head = open_head(make_head(tmp_path / "head").path)  # 50 Hz
    scored = score_file(sampled(tmp_path / "a.npz", 20), motion_map(), head)
    assert (scored.telemetry.hz, scored.every) == (50.0, 1)
    assert any(n.startswith("ticks: 50 Hz, which the head wants, from") for n in scored.notes)
    assert not scored.mask[:, spec.N_GROUPS :].any()
    needs = [any(m in spec.MASK_RATES for m in f.needs) for f in spec.FEATURES]
    assert not scored.features[:, needs].any()


def test_the_head_sees_no_feature_that_a_slow_channel_cannot_carry(tmp_path: Path) -> None:
    """Joints at 20 Hz beside a sensor of 200 Hz: their jerk is 0 for the head too, and their bits
    stay."""
    t = np.arange(401) / 200
    fields = motion(t)
    parts = {"q": (t[::10], fields["q"][::10]), "wrench": (t, fields["wrench"])}
    others = tuple(n for n in fields if n not in parts)
    data = telemetry_of(_Parts(tmp_path / "a.npz", parts), motion_map(others))
    assert (data.hz, data.own_hz) == (200.0, 200.0)
    head = open_head(make_head(tmp_path / "head").path)
    steps = Steps(head, data, every(data.hz, head.hz))
    seen, _ = steps.of(data.rows)
    kept = dict(zip(spec.NAMES, steps.kept, strict=True))
    assert not any(kept[f"{n}.last"] for n in ("jerk", "ddq"))
    assert all(kept[f"{n}.last"] for n in ("dq", "F", "dF"))
    assert (seen[:, : spec.N_FEATURES][:, ~steps.kept] == 0).all()
    assert seen[:, spec.INDEX["dq.rms"]].any()
    bits = dict(zip(spec.MASKS, seen[-2, spec.N_FEATURES :], strict=True))
    assert (bits["q"], bits["dq"], bits["rate_200"]) == (1, 1, 1)
    # The head saw the same: its state after these inputs is that of a head that is given them.
    plain = Steps(None, data, every(data.hz, head.hz)).of(data.rows)[0]
    np.testing.assert_array_equal(seen, plain)


def test_nothing_is_interpolated_across_a_gap() -> None:
    t = np.r_[0:10, 30:40] * 10_000_000
    x = np.linspace(0.0, 1.0, 20)[:, None]
    for name in ("q", "wrench", "phase"):
        c = Resampled(name, from_arrays(t, x), 0, 500.0, 200, 1e7, 5e7)
        y = c.at(0, 200)[:, 0]
        held = 70 if name == "phase" else 47  # a phase holds for 50 ms, a motion half a period
        assert (y[46:held] == x[9, 0]).all()
        assert np.isnan(y[max(held + 1, 48) : 150]).all()
        assert y[150] == x[10, 0]


def test_blocks_do_not_show(tmp_path: Path) -> None:
    t = np.arange(0, 2, 0.0083)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(len(t), 6))
    for name in ("q", "wrench", "phase"):
        for period in (8_300_000.0, 500_000.0):
            samples: Samples = from_arrays(np.rint(t * period / 0.0083).astype(np.int64), x)
            c = Resampled(name, samples, 0, 500.0, 100, period, 1e8)
            whole = c.at(0, 100)
            parts = np.vstack([c.at(i, min(i + 7, 100)) for i in range(0, 100, 7)])
            np.testing.assert_array_equal(whole, parts)


def test_a_channel_that_comes_on_change_holds(tmp_path: Path) -> None:
    width = np.full(1000, np.nan)
    width[[0, 400, 410, 900]] = [0.08, 0.05, 0.02, 0.07]  # at 500 Hz, blank where nothing changed
    path = npz(tmp_path / "a.npz", 1000, 500.0, q=None, wrench=None, width=width)
    on_change = Channel(key="width", hold_s=np.inf)
    rows = score_file(path, mapping({"width": on_change}), None).telemetry.rows
    assert (rows["width"][:400] == 0.08).all()
    assert (rows["width"][410:900] == 0.02).all()
    short = Channel(key="width", hold_s=0.1)
    rows = score_file(path, mapping({"width": short}), None).telemetry.rows
    assert np.isnan(rows["width"][60:400]).all()


def test_a_magnitude_and_a_pad_at_20_hz_are_scored_at_20_hz(tmp_path: Path) -> None:
    t = np.arange(200) / 20.0
    force = np.where((t > 5) & (t < 6), 15.0, 0.5)
    np.savez(tmp_path / "a.npz", t=t, f=force, pad=force / 20.0)
    m = mapping(
        {"force_norm": Channel(key="f"), "touch": Channel(key="pad")},
        time=Time(key="t", rate_hz=20.0),
    )
    scored = score_file(tmp_path / "a.npz", m, None)
    assert (scored.telemetry.hz, scored.every) == (20.0, 1)
    assert set(scored.masked) >= {"force", "q", "rate_50", "rate_400"}
    known = [name in ("force_norm", "touch", "clock") for name in spec.MASKS]
    can = np.array(spec.feature_mask(known, 20.0))
    assert not scored.features[:, ~can].any()
    assert scored.feature("peak").max() == 15.0
    assert scored.feature("touch.max").max() == 0.75
    assert scored.summary.force == 15.0
    assert scored.summary.onsets == 1
