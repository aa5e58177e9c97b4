"""The mapping file of `headway score`: which channel of a stranger's file is which telemetry field.

A TOML file, strict as every configuration; examples in `examples/score`.

    [time]               # of tables; in logs a path such as "header.stamp", else the log's
    key = "t"            # column of stamps, or ["sec", "nanosec"]; or rate_hz alone, where samples
                         # are regular
    interpolate = false  # each tick has the newest sample, as in the loop; left out, the values
                         # between samples, which know the next one
    [channels.q]         # any field of kernels.telemetry.FIELDS
    key = "joint_deg"    # column, or list of columns; in logs a dotted path into `topic`
    unit = "deg"
    names = ["a", "b"]   # of values that have names: which, in which order
    [channels.wrench]
    key = ["fx", "fy", "fz", "tx", "ty", "tz"]
    frame = "tcp"        # or "base"
    force = "on tool"    # or "by tool", whose sign is turned
    [constants]
    limit = 30.0         # fields that are the same all the time

    [channels.touch]
    key = ["left_pad", "right_pad"]
    combine = "max"      # or "mean", "norm": of several values the one of a field that has one

Value = (raw * scale + offset) * unit. What is not mapped is NaN, so its features are masked.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from headway import config
from headway.config import INFINITE, Positive, SecondsOrNone
from headway.errors import ConfigError
from headway.kernels.telemetry import FIELDS, Scale
from headway.tools.score.meaning import Events as Events
from headway.tools.score.meaning import Labels as Labels
from headway.tools.score.meaning import Outcome as Outcome
from headway.tools.score.meaning import Phase as Phase
from headway.tools.score.meaning import Session as Session
from headway.tools.score.units import ANGLE, factors
from headway.types import Vec

LAYOUTS = {"xyz quat wxyz": 7, "xyz quat xyzw": 7, "xyz rpy": 6, "xyz rotvec": 6}


class Time(config.Struct, frozen=True):
    """When samples were taken."""

    # The column of the stamps, or two columns of seconds and nanoseconds; None: found by its name.
    key: str | Annotated[list[str], Meta(min_length=1, max_length=2)] | None = None
    unit: Literal["s", "ms", "us", "ns"] | None = None  # None: as the name says, else seconds
    # Of the ticks that features are computed at, and of samples that have no stamps; None: see
    # `telemetry.tick_rate`.
    rate_hz: Positive | None = None
    hold_s: Positive = 0.1  # a sample older than this, and than three of its periods, is missing
    # False: at each tick the newest sample that there was by then, as in the loop, instead of
    # values between samples, which know the next one.
    interpolate: bool = True

    @property
    def keys(self) -> list[str]:
        return [self.key] if isinstance(self.key, str) else self.key or []


class Channel(config.Struct, frozen=True):
    """Where the values of a telemetry field are, and what they mean:
    SI value = (raw * scale + offset) * unit."""

    key: str | list[str]
    topic: str | None = None
    time: str | None = None  # the array of its own stamps, where a file has several rates
    names: list[str] | None = None  # which values, in which order, where messages name them
    columns: list[int] | None = None  # which values, in which order, by their places from 0
    unit: str | list[str] | None = None  # None: SI, or as names say; two for tcp, twist and wrench
    scale: float | list[float] = 1.0
    offset: float | list[float] = 0.0
    # Several values a sample, each in SI units by then, become the one of a field that has one.
    combine: Literal["mean", "max", "norm"] | None = None
    optional: bool = False
    # Samples come when the value changes: each holds for so long, for inf until the next one, and
    # nothing is interpolated.
    hold_s: Annotated[float, Meta(gt=0.0), INFINITE] | None = None
    layout: Literal["xyz quat wxyz", "xyz quat xyzw", "xyz rpy", "xyz rotvec"] | None = None
    frame: Literal["tcp", "base"] | None = None
    force: Literal["on tool", "by tool"] | None = None
    tare_s: SecondsOrNone = 0.0  # the mean over the first seconds is taken out of the wrench
    # Which messages of the topic: those where fields have these values (path -> value), and where
    # there are several, those of one schema or of one publisher.
    where: dict[str, str | float | bool] = msgspec.field(default_factory=dict)
    schema: str | None = None
    publisher: int | None = None

    @property
    def keys(self) -> list[str]:
        return [self.key] if isinstance(self.key, str) else self.key

    @property
    def units(self) -> list[str]:
        return [self.unit] if isinstance(self.unit, str) else self.unit or []

    @property
    def has_quaternion(self) -> bool:
        return self.layout in ("xyz quat wxyz", "xyz quat xyzw")


_Angle = Annotated[float, INFINITE]  # a continuous joint has no limits


class Limits(config.Struct, frozen=True):
    """The limits of the arm, of each joint or one for all; what is None is taken from `DEFAULTS` or
    from those of `Scale`."""

    unit: Literal["rad", "deg"] = "rad"  # of all angles here: `dq_max` is in it per second
    q_min: _Angle | list[_Angle] | None = None
    q_max: _Angle | list[_Angle] | None = None
    dq_max: Positive | list[Positive] | None = None
    tau_max: Positive | list[Positive] | None = None  # [Nm]
    q_tol: Positive | None = None  # an error of this size between `q_ref` and `q` counts as 1
    v_max: Positive | None = None  # [m/s]
    stroke: Positive | None = None  # [m]
    force_max: Positive | None = None  # [N]


class Mapping(config.Struct, frozen=True):
    robot: str = ""
    task: str = ""
    topic: str | None = None  # of channels that name none, in logs of messages
    time: Time = Time()
    channels: dict[str, Channel] = msgspec.field(default_factory=dict)
    constants: dict[str, float] = msgspec.field(default_factory=dict)
    phase: Phase | None = None
    outcome: Outcome | None = None
    events: Events | None = None
    session: Session | None = None
    labels: Labels | None = None
    limits: Limits = Limits()


# A joint without limits is taken as continuous; pi rad/s and 50 Nm are those of a small arm.
DEFAULTS = {"q_min": -math.inf, "q_max": math.inf, "dq_max": math.pi, "tau_max": 50.0}


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file. Raises ConfigError, which names the file, the key and what is valid."""
    mapping = check(config.load(path, Mapping), str(path))
    if mapping.labels is None:
        return mapping
    file = str(path.parent / mapping.labels.file)
    return msgspec.structs.replace(mapping, labels=Labels(file=file))


def check(mapping: Mapping, where: str) -> Mapping:
    """The mapping itself. Raises ConfigError for fields that telemetry does not have, and for keys
    that do not go together; `where` names the file."""
    for section, names in (("channels", mapping.channels), ("constants", mapping.constants)):
        for name in names:
            if name not in FIELDS:
                raise ConfigError(
                    f"{where}: unknown telemetry field `{section}.{name}`: "
                    f"{config.suggest(name, FIELDS)}"
                )
    for name in mapping.constants:
        if FIELDS[name][0] != 0:
            raise ConfigError(f"{where}: `constants.{name}` has several values: map a channel")
    both = set(mapping.channels) & set(mapping.constants)
    if mapping.phase is not None and "phase" in {*mapping.channels, *mapping.constants}:
        both |= {"phase"}
    if both:
        raise ConfigError(f"{where}: wanted one source for each field, found two of {min(both)}")
    if not mapping.channels:
        raise ConfigError(f"{where}: wanted [channels.FIELD] sections, found none")
    _check_numbers(mapping, where)
    _check_meaning(mapping, where)
    for name, channel in mapping.channels.items():
        _check_channel(name, channel, f"{where}: [channels.{name}]")
    return mapping


def _check_meaning(mapping: Mapping, where: str) -> None:
    """Raises ConfigError for words about an episode that come from nowhere, or from two places."""
    events, outcome, labelled = mapping.events, mapping.outcome, mapping.labels is not None
    if events is not None:
        both = events.times is not None and events.text is not None
        none = events.times is None and events.text is None
        # An outcome tells of failures too: `before_s` alone says how early PRO is to tell of them.
        if both or (none and not labelled and outcome is None):
            raise ConfigError(f"{where}: [events] wants either `times` or `text`")
        if none and (events.failures or events.retries or events.ignore or events.topic):
            raise ConfigError(
                f"{where}: [events] wants `times` or `text` for its words; [labels] says itself "
                "what events mean"
            )
    if outcome is not None and outcome.key is None and not (outcome.folder or labelled):
        raise ConfigError(
            f"{where}: [outcome] wants `key`, `folder = true`, or [labels] with a column `outcome`"
        )


def _check_channel(name: str, c: Channel, where: str) -> None:
    if name == "tcp" and c.layout is None:
        raise ConfigError(f"{where} wants `layout`, one of {', '.join(LAYOUTS)}")
    if name == "wrench" and (c.frame is None or c.force is None):
        raise ConfigError(
            f'{where} wants `frame` ("tcp" or "base": what the components are along) and `force` '
            '("on tool" or "by tool": whose sign it has)'
        )
    given = {"layout": c.layout, "frame": c.frame, "force": c.force, "tare_s": c.tare_s or None}
    for key, value in given.items():
        field = "tcp" if key == "layout" else "wrench"
        if value is not None and name != field:
            raise ConfigError(f"{where}: `{key}` belongs to [channels.{field}]")
    if c.names is not None and c.columns is not None:
        raise ConfigError(f"{where}: wanted `names` or `columns`, found both: names are enough")
    if c.names is not None and (len(set(c.names)) < len(c.names) or not c.names):
        raise ConfigError(f"{where}: `names` wants names that differ, found {c.names}")
    if not c.keys:
        raise ConfigError(f"{where}: `key` wants at least one, found none")
    if c.combine is not None:
        _check_combine(name, c.combine, where)
    factors(name, c.units, where)


def _check_combine(name: str, how: str, where: str) -> None:
    """Raises ConfigError for a field whose values cannot be combined so."""
    width, unit = FIELDS[name]
    if width != 0:
        raise ConfigError(
            f"{where}: `combine` makes one value of several, {name} has more: drop it"
        )
    if unit.startswith("index"):
        raise ConfigError(
            f"{where}: {name} is an index, of which none stands for several: map one `key`"
        )
    if unit in ("0/1", "count") and how != "max":
        raise ConfigError(
            f'{where}: `combine` of a flag or a count wants "max", found "{how}", which is neither'
        )


def _check_numbers(mapping: Mapping, where: str) -> None:
    """Raises ConfigError for numbers that their types cannot rule out."""
    for name, c in mapping.channels.items():
        if 0.0 in np.atleast_1d(c.scale):
            raise ConfigError(
                f"{where}: `channels.{name}.scale` wants numbers other than 0, found {c.scale}"
            )
    low, high = mapping.limits.q_min, mapping.limits.q_max
    if low is None or high is None:
        return
    of_one_length = len({np.size(low), np.size(high)} - {1}) < 2
    if of_one_length and not (np.asarray(low) < np.asarray(high)).all():
        raise ConfigError(
            f"{where}: wanted `limits.q_min` < `limits.q_max`, found {low} and {high}"
        )


def scale_of(limits: Limits, joints: int, where: str) -> tuple[Scale, list[str]]:
    """The scale of an arm with so many joints, and in words what of it is a default. Raises
    ConfigError for a list of another length."""
    values: dict[str, Vec] = {}
    assumed = []
    for name, default in DEFAULTS.items():
        given = getattr(limits, name)
        if given is None:
            values[name] = np.full(joints, default)
            unit = {"dq_max": " rad/s", "tau_max": " Nm"}.get(name, "")
            assumed.append(f"{name} = {default:.4g}{unit}")
            continue
        array = np.asarray(given, np.float64)
        if array.ndim and array.shape != (joints,):
            raise ConfigError(
                f"{where}: `limits.{name}` wants {joints} values, one a joint, found {len(array)}"
            )
        factor = 1.0 if name == "tau_max" else ANGLE[limits.unit]
        values[name] = np.full(joints, array * factor)
    scale = Scale(values["q_min"], values["q_max"], values["dq_max"], values["tau_max"])
    single = {n: getattr(limits, n) for n in ("q_tol", "v_max", "stroke", "force_max")}
    if limits.q_tol is not None:
        single["q_tol"] = limits.q_tol * ANGLE[limits.unit]
    assumed += [f"{n} = {getattr(scale, n):g}" for n, v in single.items() if v is None]
    return replace(scale, **{n: v for n, v in single.items() if v is not None}), assumed


def plain_mapping(path: Path, keys: list[str]) -> Mapping:
    """The mapping of a file whose `keys` are telemetry fields, in the units and frames of
    `kernels.telemetry`. Raises ConfigError where none is."""
    known = [k for k in keys if k in FIELDS]
    if not known:
        raise ConfigError(
            f"{path}: without --map the channels bear the names of telemetry fields "
            f"({', '.join(list(FIELDS)[:8])}, ...), found {', '.join(keys[:30])}: write a mapping, "
            "see examples/score"
        )
    ours = {
        "tcp": Channel(key="tcp", optional=True, layout="xyz quat wxyz"),
        "wrench": Channel(key="wrench", optional=True, frame="tcp", force="on tool"),
    }
    return Mapping(channels={k: ours.get(k, Channel(key=k, optional=True)) for k in known})
