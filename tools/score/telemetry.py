"""From a mapped file to rows of telemetry at regular ticks, as the control loop has them.

The ticks are at the file's own rate, that of the fastest channel which moves, up to `TICK_HZ`: a
robot whose loop runs at that rate gives PRO the same rows of the channels that have a sample at
every tick (slower ones are interpolated here, and held there: `grid`), and the mask says what the
rate cannot carry. See `tick_rate` for files that are slower than a head. The module `carried` says
which features a channel's own rate cannot carry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.kernels import spec, telemetry
from headway.kernels.derive import rotate
from headway.kernels.telemetry import FIELDS, Scale
from headway.tools.score.convert import Converted, convert
from headway.tools.score.grid import CUBIC, KINDS, LINEAR, ROUNDING_NS, Resampled, ticks_ns
from headway.tools.score.labels import meaning_of
from headway.tools.score.mapping import Limits, Mapping, scale_of
from headway.tools.score.samples import BLOCK
from headway.tools.score.source import Raw, Source
from headway.tools.score.stamps import GAP, rate_of
from headway.types import Vec

Rows = NDArray[Any]
TICK_HZ = 500.0  # the fastest ticks unless the mapping says more: no feature wants more than 400
EMPTY = 0.3  # from this share of rows without values, a channel is taken at times of its own
LATE_S = 1.0  # a channel that comes later than this after the first one is named in a note
SLOWEST_HZ = spec.LOWEST_HZ  # the lowest rate of samples that shows motion at all
JOINT_FIELDS = tuple(n for n, (width, _) in FIELDS.items() if width == "J")
# What names of values say beside the joint: "q.elbow", "elbow.vel".
_QUANTITY = re.compile(rf"^({'|'.join(JOINT_FIELDS)})\.|\.(pos|position|vel|velocity|tau|effort)$")


@dataclass(frozen=True)
class Telemetry:
    """The telemetry of one file: `n` rows, one a tick."""

    channels: dict[str, Resampled]  # by telemetry field
    rates: dict[str, float]  # of the channels' own samples [Hz], by telemetry field
    constants: dict[str, float]  # fields that have the same value in all rows
    base_wrench: bool  # the wrench is along the axes of the base, not of the TCP as in rows
    phases: NDArray[np.int64] | None  # when each began [ns, the file's clock]; None: not known
    hz: float  # of the ticks
    n: int
    ready: int  # the first tick at which all regularly sampled channels have a value
    joints: int
    scale: Scale
    origin_ns: int  # time of tick 0 on the file's clock
    success: bool | None = None  # how the task ended, None where nothing says
    events: list[tuple[float, str]] = field(default_factory=list)  # (t [s] after tick 0, text)
    notes: list[str] = field(default_factory=list)
    # What the mapping says that events mean, as (t [s] after tick 0, text), in the order of time.
    failures: tuple[tuple[float, str], ...] = ()
    retries: tuple[tuple[float, str], ...] = ()
    end_s: float | None = None  # nothing from here on is learned or judged; None: all is
    session: str = ""  # that the episode belongs to, "" where nothing says
    episode: str = ""  # which one of the file's episodes, "" where it holds one

    @property
    def own_hz(self) -> float:
        """The rate of the file [Hz], see `own_rate`."""
        return own_rate({n: (r, self.channels[n].on_change) for n, r in self.rates.items()})

    @property
    def ahead_ms(self) -> dict[str, float]:
        """Of each channel whose values depend on samples after their tick: how much later [ms]
        these are at most. The loop would not have had them."""
        ahead = {n: c.lookahead_ns / 1e6 for n, c in self.channels.items() if not c.is_exact}
        return {n: ms for n, ms in ahead.items() if ms > 0}

    @cached_property
    def rows(self) -> Rows:
        """All rows (n,) at once, for files that fit into memory."""
        return np.concatenate(list(self.blocks()))

    def blocks(self, size: int = BLOCK) -> Iterator[Rows]:
        """The rows from the first to the last, `size` at a time."""
        for lo in range(0, self.n, size):
            yield self._block(lo, min(lo + size, self.n))

    def _block(self, lo: int, hi: int) -> Rows:
        rows: Rows = telemetry.empty(self.joints, hi - lo)
        ticks = ticks_ns(self.hz, lo, hi)
        rows["t_ns"] = ticks
        rows["elapsed"] = ticks / NS
        columns = {name: c.at(lo, hi) for name, c in self.channels.items()}
        if self.base_wrench:
            columns["wrench"] = _in_tcp_frame(columns["tcp"], columns["wrench"])
        if "q" in columns and "q_ref" in columns:
            columns["q_ref"] = _same_turn(columns["q"], columns["q_ref"])
        for name, x in columns.items():
            rows[name] = x if rows[name].ndim == 2 else x[:, 0]
        for name, value in self.constants.items():
            rows[name] = value
        if self.phases is not None:
            at = np.searchsorted(self.phases, self.origin_ns + ticks + ROUNDING_NS, side="right")
            rows["phase"] = np.where(at > 0, at - 1, np.nan)
        return rows

    def thinned(self, every: int) -> Telemetry:
        """The same recording as slower sensors would have given it: each `every`-th sample of what
        moves."""
        channels = {
            n: replace(c, samples=c.samples.thinned(every), period_ns=c.period_ns * every)
            if n in CUBIC + LINEAR
            else c
            for n, c in self.channels.items()
        }
        return replace(self, channels=channels, rates={n: r / every for n, r in self.rates.items()})


def own_rate(channels: dict[str, tuple[float, bool]]) -> float:
    """The rate of a file [Hz]: that of the fastest channel that moves, else of the fastest that is
    sampled regularly. Samples that come on change keep their times at any rate, so they count for
    `TICK_HZ`. `channels`: field -> (rate [Hz], whether its samples come on change)."""
    regular = {n: rate for n, (rate, on_change) in channels.items() if not on_change}
    moving = [rate for n, rate in regular.items() if n in CUBIC + LINEAR]
    return max(moving or regular.values(), default=TICK_HZ)


def tick_rate(
    own_hz: float,
    asked: float | None,
    head_hz: float | None,
    taught: tuple[float, float] | None,
    notes: list[str],
) -> float:
    """The rate of the ticks [Hz], for a file whose samples come at `own_hz`.

    It is what the mapping asks for (`time.rate_hz`). Else it is the file's own, but within the
    rates that the head was `taught` at, and at least `head_hz`, that of its steps: slower samples
    are then interpolated, and masked as too slow (`carried`)."""
    lowest, highest = spec.LOWEST_HZ, spec.HIGHEST_HZ
    if asked is not None and lowest <= asked <= highest:
        return asked
    hz = max(min(own_hz, TICK_HZ), head_hz or lowest, lowest)
    if taught is not None:
        hz = min(max(hz, taught[0]), taught[1])
    if asked is not None:
        notes.append(
            f"ticks: {hz:g} Hz, since features want {lowest:g} to {highest:g} Hz and the mapping "
            f"gives {asked:g} Hz"
        )
    elif hz > own_hz * 1.01:
        why = "which the head wants" if head_hz is not None else "the fewest that features want"
        notes.append(
            f"ticks: {hz:g} Hz, {why}, from samples of at most {own_hz:g} Hz: what those cannot "
            "carry is masked"
        )
    return hz


def telemetry_of(
    source: Source,
    mapping: Mapping,
    head_hz: float | None = None,
    taught: tuple[float, float] | None = None,
) -> Telemetry:
    """The telemetry of an opened file. For a head, `head_hz` is the rate of its steps [Hz], and
    `taught` the lowest and highest rate of the ticks that it was taught at, None where it does not
    say. Raises RecordingError for a file, and ConfigError for a mapping, that cannot be used: what
    was wanted, what was found, what to do."""
    notes: list[str] = []
    found = _channels(source, mapping, notes)
    joints = _joints(source, mapping, found)
    rates = {n: c.rate_hz for n, c in found.items() if c.rate_hz is not None}
    if not rates:
        name, c = next(iter(found.items()))
        raise RecordingError(
            f"{source.path}: wanted at least two samples at different times, found "
            f"{len(c.samples.t)} of {name} at {c.samples.t[0] / NS:g} s"
        )
    _refuse_slow(source, mapping, rates)
    given = {n: (rate, mapping.channels[n].hold_s is not None) for n, rate in rates.items()}
    hz = tick_rate(own_rate(given), mapping.time.rate_hz, head_hz, taught, notes)
    origin, n = _span(source, found, hz)
    channels: dict[str, Resampled] = {}
    for name, c in found.items():
        period = NS / c.rate_hz if c.rate_hz is not None else 0.0
        hold_s = mapping.channels[name].hold_s
        hold = max(mapping.time.hold_s * NS, 3 * period) if hold_s is None else hold_s * NS
        on_change, newest = hold_s is not None, not mapping.time.interpolate
        if newest and not on_change and name in CUBIC + LINEAR:
            hold = GAP * period or hold  # held for longer, it would look like a stop
        channels[name] = Resampled(name, c.samples, origin, hz, n, period, hold, on_change, newest)
    wrench = mapping.channels.get("wrench")
    base = "wrench" in found and wrench is not None and wrench.frame == "base"
    if base and "tcp" not in found:
        raise ConfigError(
            f"{source.path}: a wrench in the base frame wants `channels.tcp` to turn it into the "
            'TCP frame, found none: map it, or give `frame = "tcp"` if that is what it is'
        )
    meaning = meaning_of(source, mapping, origin, n / hz, notes)
    scale, assumed = scale_of(mapping.limits, joints, str(source.path))
    own = source.scale() if mapping.limits == Limits() else None
    if own is not None and len(own.q_min) == joints:
        scale = own
    elif assumed:
        notes.append(f"limits that the mapping does not give, assumed: {', '.join(assumed)}")
    ready = min(_ready(channels, notes), n - 1)
    made = Telemetry(
        channels, rates, dict(mapping.constants), base, meaning.phases, hz, n, ready, joints, scale,
        origin, meaning.success, meaning.events, notes,
        meaning.marked.failures, meaning.marked.retries, meaning.marked.end_s,
        meaning.session, source.episode,
    )  # fmt: skip
    _say_resampling(made, notes)
    notes[:0] = source.notes
    return made


def _channels(source: Source, mapping: Mapping, notes: list[str]) -> dict[str, Converted]:
    found: dict[str, Converted] = {}
    for name, raw in source.channels(mapping.channels).items():
        raw = own_times(name, raw, notes)
        found[name] = convert(source.path, name, mapping.channels[name], raw, notes)
    if not found:
        raise RecordingError(f"{source.path}: wanted channels, found none of the mapped ones")
    return _joints_in_one_order(source, found)


def own_times(name: str, raw: Raw, notes: list[str]) -> Raw:
    """The channel of the field `name` without its empty rows, where it has many: it then shares a
    table with faster channels. Says so in `notes`."""
    samples = raw.samples
    known = np.concatenate([np.isfinite(x).all(axis=1) for _, x in samples.blocks()])
    empty = 1 - np.count_nonzero(known) / len(known)
    if empty < EMPTY or not known.any():
        return raw
    samples = samples.take(np.flatnonzero(known))
    notes.append(
        f"{name}: {empty:.0%} of the rows have no value; taken at the times of those that do"
    )
    return replace(raw, samples=samples, rate_hz=rate_of(samples.t))


def _joints_in_one_order(source: Source, found: dict[str, Converted]) -> dict[str, Converted]:
    """Bring all fields of joints whose joints have names into the order of the first such field.
    Raises RecordingError where the names are not the same."""
    named = {
        n: joint_names(c.labels)
        for n, c in found.items()
        if n in JOINT_FIELDS and c.labels is not None
    }
    out = dict(found)
    for name, labels in named.items():
        first, order = next(iter(named.items()))
        if set(labels) != set(order):
            here, there = (", ".join(found[n].labels or ()) for n in (name, first))
            raise RecordingError(
                f"{source.path}: wanted the same joints everywhere, found {here} in {name} and "
                f"{there} in {first}: choose by `names`"
            )
        if labels != order:
            samples = found[name].samples.of([labels.index(n) for n in order])
            out[name] = replace(found[name], samples=samples, labels=found[first].labels)
    return out


def joint_names(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The joints that values are of, by the names of the values: without what says which quantity
    of a joint a value is ("q.elbow", "elbow.pos"), which differs between fields. The names
    themselves where two would then be the same."""
    plain = tuple(_QUANTITY.sub("", n) for n in labels)
    return plain if len(set(plain)) == len(plain) else labels


def _ready(channels: dict[str, Resampled], notes: list[str]) -> int:
    """The first tick at which all channels have a value that are sampled regularly. One that comes
    on change may never come. Where it is late, `notes` say what then does not count."""
    first = {n: _first_tick(c) for n, c in channels.items() if not c.on_change}
    if not first:
        return 0
    name = max(first, key=lambda n: first[n])
    late_s = first[name] / channels[name].hz
    if late_s > LATE_S:
        notes.append(
            f"check {name}: its first value comes at {late_s:.1f} s; onsets, risk, stability and "
            "the verdict count from there on: give `hold_s` if its samples come on change, or "
            "leave it out"
        )
    return first[name]


def _first_tick(c: Resampled) -> int:
    """The first tick at which a channel has a value, 0 where it never has one."""
    for lo, x in c.samples.blocks():
        known = np.flatnonzero(np.isfinite(x).all(axis=1))
        if len(known):
            at = int(c.samples.t[lo + int(known[0])]) - c.start_ns
            return -int(-at * c.hz // NS)
    return 0


def _refuse_slow(source: Source, mapping: Mapping, rates: dict[str, float]) -> None:
    """Raises ConfigError for fields that move, but whose samples come too seldom to show it."""
    slow = [
        f"{n} {rate:.3g} Hz"
        for n, rate in rates.items()
        if n in CUBIC + LINEAR and mapping.channels[n].hold_s is None and rate < SLOWEST_HZ
    ]
    if slow:
        raise ConfigError(
            f"{source.path}: wanted channels of at least {SLOWEST_HZ:g} Hz (features are computed "
            f"at {spec.LOWEST_HZ:g}..{spec.HIGHEST_HZ:g} Hz from them), found {', '.join(slow)}: "
            "check `time.unit`, leave them out, or give `hold_s` where they come on change"
        )


def _say_resampling(made: Telemetry, notes: list[str]) -> None:
    """Note the rates of the samples, and how each channel comes to the ticks."""
    by_rate: dict[float, list[str]] = {}
    for name, rate in made.rates.items():
        by_rate.setdefault(rate, []).append(name)
    rates = "; ".join(f"{', '.join(names)} {rate:g} Hz" for rate, names in by_rate.items())
    notes.append(f"rates of the samples: {rates}; features at ticks of {made.hz:g} Hz")
    for how in KINDS:
        which = [c for c in made.channels.values() if not c.is_exact and c.kind == how]
        if which:
            ahead = {c.name: made.ahead_ms.get(c.name, 0.0) for c in which}
            looks = ", which looks ahead by as much as is said" if any(ahead.values()) else ""
            names = ", ".join(n + (f" ({ms:.3g} ms)" if ms else "") for n, ms in ahead.items())
            notes.append(f"resampled to {made.hz:g} Hz, {how}{looks}: {names}")


def _in_tcp_frame(tcp: Vec, wrench: Vec) -> Vec:
    """Wrenches (n, 6) along the axes of the base -> along those of the TCP, whose poses in the base
    frame are `tcp` (n, 7)."""
    inverse = tcp[:, 3:] * np.array([1.0, -1.0, -1.0, -1.0])
    out = rotate(inverse, wrench.reshape(-1, 2, 3)).reshape(-1, 6)
    out[~np.isfinite(tcp).all(axis=1)] = np.nan
    return out


def _same_turn(q: Vec, q_ref: Vec) -> Vec:
    """Commanded angles `q_ref` (n, J) [rad] brought to the same turn as the measured ones `q`
    (n, J): where joints wrap, both are known up to whole turns only."""
    off = q_ref - q
    turns = np.rint(off / (2 * np.pi))
    near = np.abs(off - 2 * np.pi * turns) < 0.5
    return np.where(np.isfinite(off) & near, q_ref - 2 * np.pi * turns, q_ref)


def _joints(source: Source, mapping: Mapping, found: dict[str, Converted]) -> int:
    """The number of joints, from the channels, else from the mapping's limits. Raises
    RecordingError where channels have different numbers."""
    widths = {n: c.samples.width for n, c in found.items() if n in JOINT_FIELDS}
    if len(set(widths.values())) > 1:
        said = ", ".join(f"{n} {w}" for n, w in widths.items())
        raise RecordingError(
            f"{source.path}: wanted the same number of joints everywhere, found {said}: choose "
            "with `columns`"
        )
    given = mapping.limits.q_min if mapping.limits.q_min is not None else mapping.limits.dq_max
    return next(iter(widths.values()), len(given) if isinstance(given, list) else 1)


def _span(source: Source, found: dict[str, Converted], hz: float) -> tuple[int, int]:
    """The time of tick 0 [ns], and how many ticks of `hz` there are up to the last sample. Raises
    ConfigError for times that leave most of the ticks empty."""
    start = min(int(c.samples.t[0]) for c in found.values())
    end = max(int(c.samples.t[-1]) for c in found.values())
    n = int((end - start) * hz / NS + 0.25) + 1  # up to a quarter of a period after the last sample
    samples = max(len(c.samples.t) for c in found.values())
    if n > 1000 * samples + 1000 or n > 200_000_000:
        steps = {name: np.diff(c.samples.t, append=c.samples.t[-1]) for name, c in found.items()}
        name = max(steps, key=lambda n: int(steps[n].max()))
        at, step = int(steps[name].argmax()), int(steps[name].max())
        raise ConfigError(
            f"{source.path}: {samples} samples would fill {n} ticks of {hz:g} Hz "
            f"({(end - start) / NS:g} s); the longest step is one of {step / NS:g} s in {name} "
            f"behind sample {at}: check `time.unit` and `time.rate_hz`, or cut the file there"
        )
    return start, n
