"""The mapping file of `headway score`: which channel of a stranger's file is which telemetry field.

A TOML file, strict as every configuration; examples in `examples/score`.

    [time]               # of .npz and CSV; MCAP has its own stamps
    key = "t"            # column of stamps; or rate_hz alone, where samples are regular
    [channels.q]         # any field of kernels.telemetry.FIELDS
    key = "joint_deg"    # column, or list of columns; in MCAP a dotted path into `topic`
    unit = "deg"
    [channels.wrench]
    key = ["fx", "fy", "fz", "tx", "ty", "tz"]
    frame = "tcp"        # or "base"
    force = "on tool"    # or "by tool", whose sign is turned
    [constants]
    limit = 30.0         # fields that are the same all the time

Value = (raw * scale + offset) * unit. What is not mapped is NaN, so its features are masked.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from headway import config
from headway.edge.score_read import Mcap, Source, Table, no_key, read_csv, read_npz
from headway.errors import ConfigError, RecordingError
from headway.kernels.telemetry import FIELDS, Scale
from headway.types import Vec

ANGLE = {"rad": 1.0, "deg": math.pi / 180}
LENGTH = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
FACTORS: dict[str, dict[str, float]] = {
    "rad": ANGLE,
    "m": LENGTH,
    "rad/s": {**{f"{k}/s": v for k, v in ANGLE.items()}, "rpm": math.pi / 30},
    "m/s": {f"{k}/s": v for k, v in LENGTH.items()},
    "N": {"N": 1.0, "mN": 1e-3, "kN": 1e3, "kgf": 9.80665},
    "Nm": {"Nm": 1.0, "mNm": 1e-3, "Nmm": 1e-3},
    "s": {"s": 1.0, "ms": 1e-3},
    "0..1": {"1": 1.0, "%": 1e-2},
}
LAYOUTS = {"xyz quat wxyz": 7, "xyz quat xyzw": 7, "xyz rpy": 6, "xyz rotvec": 6}
SUFFIXES = (".npz", ".csv", ".mcap")


class Time(config.Struct, frozen=True):
    """`rate_hz`: of the grid that features are computed on; None: what the stamps say."""

    key: str | None = None
    unit: Literal["s", "ms", "us", "ns"] = "s"
    rate_hz: float | None = None
    hold_s: float = 0.1  # a sample older than this, and than three of its periods, is missing


class Channel(config.Struct, frozen=True):
    key: str | list[str]
    topic: str | None = None
    columns: list[int] | None = None  # which of them, in which order
    unit: str | list[str] | None = None  # None: SI; two for tcp, twist and wrench
    scale: float | list[float] = 1.0
    offset: float | list[float] = 0.0
    optional: bool = False
    hold_s: float | None = None  # inf: until the next sample, for values sent on change
    layout: Literal["xyz quat wxyz", "xyz quat xyzw", "xyz rpy", "xyz rotvec"] | None = None
    frame: Literal["tcp", "base"] | None = None
    force: Literal["on tool", "by tool"] | None = None
    tare_s: float = 0.0  # the mean over the first seconds is taken out of the wrench


class Phase(config.Struct, frozen=True):
    """The times at which the controller's phases 0, 1, ... began, on the clock of `time`."""

    starts: str
    names: tuple[str, ...] = ()
    topic: str | None = None
    optional: bool = False


class Outcome(config.Struct, frozen=True):
    """The last value of `key`; one of `success` means that the task ended well."""

    key: str
    success: list[str | float | bool]
    topic: str | None = None
    optional: bool = False


class Events(config.Struct, frozen=True):
    """Either `times` with `labels`, or `text`: words over time, an event where they change."""

    times: str | None = None
    labels: str | None = None
    text: str | None = None
    topic: str | None = None
    optional: bool = False


class Limits(config.Struct, frozen=True):
    """Of the arm, per joint or one for all; what is None takes the default of `DEFAULTS`."""

    unit: Literal["rad", "deg"] = "rad"
    q_min: float | list[float] | None = None
    q_max: float | list[float] | None = None
    dq_max: float | list[float] | None = None
    tau_max: float | list[float] | None = None  # [Nm]
    q_tol: float | None = None
    v_max: float | None = None  # [m/s]
    stroke: float | None = None  # [m]
    force_max: float | None = None  # [N]


class Mapping(config.Struct, frozen=True):
    robot: str = ""
    task: str = ""
    topic: str | None = None  # of MCAP channels that name none
    time: Time = Time()
    channels: dict[str, Channel] = msgspec.field(default_factory=dict)
    constants: dict[str, float] = msgspec.field(default_factory=dict)
    phase: Phase | None = None
    outcome: Outcome | None = None
    events: Events | None = None
    limits: Limits = Limits()


# A joint without limits is taken as continuous; pi rad/s and 50 Nm are those of a small arm.
DEFAULTS = {"q_min": -math.inf, "q_max": math.inf, "dq_max": math.pi, "tau_max": 50.0}


def load_mapping(path: Path) -> Mapping:
    """Raises ConfigError: file, key, nearest valid key."""
    return check(config.load(path, Mapping), str(path))


def check(mapping: Mapping, where: str) -> Mapping:
    """Raises ConfigError for keys that no telemetry has or that do not go together."""
    for section, names in (("channels", mapping.channels), ("constants", mapping.constants)):
        for name in names:
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"valid: {', '.join(FIELDS)}"
                raise ConfigError(f"{where}: unknown telemetry field `{section}.{name}`: {hint}")
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
    rate = mapping.time.rate_hz
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ConfigError(f"{where}: `time.rate_hz` wants a rate > 0, found {rate}")
    events = mapping.events
    if events is not None and (events.times is None) == (events.text is None):
        raise ConfigError(f"{where}: [events] wants either `times` or `text`")
    for name, channel in mapping.channels.items():
        _check_channel(name, channel, f"{where}: [channels.{name}]")
    return mapping


def _check_channel(name: str, c: Channel, where: str) -> None:
    if name == "tcp" and c.layout is None:
        raise ConfigError(f"{where} wants `layout`, one of {', '.join(LAYOUTS)}")
    if name == "wrench" and (c.frame is None or c.force is None):
        raise ConfigError(
            f'{where} wants `frame` ("tcp" or "base": what the components are along) and `force` '
            '("on tool" or "by tool": whose sign it has)'
        )
    extra = {
        "layout": ("tcp", c.layout),
        "frame": ("wrench", c.frame),
        "force": ("wrench", c.force),
    }
    for key, (field, value) in extra.items():
        if value is not None and name != field:
            raise ConfigError(f"{where}: `{key}` belongs to [channels.{field}]")
    if c.tare_s and name != "wrench":
        raise ConfigError(f"{where}: `tare_s` belongs to [channels.wrench]")
    factors(name, c, where)


def factors(name: str, c: Channel, where: str) -> tuple[float, float]:
    """Of the field's first three values, and of the rest. Raises ConfigError."""
    wanted = FIELDS[name][1].replace("quat wxyz", "rad").split(", ")
    given = [c.unit] if isinstance(c.unit, str) else list(c.unit or [])
    if len(given) > len(wanted):
        raise ConfigError(f"{where}: `unit` wants {len(wanted)} of them, found {len(given)}")
    out = []
    for i, base in enumerate(wanted):
        valid = FACTORS.get(base, {base: 1.0})
        if i >= len(given):
            out.append(1.0)
        elif given[i] in valid:
            out.append(valid[given[i]])
        else:
            raise ConfigError(f"{where}: unknown unit `{given[i]}`, valid: {', '.join(valid)}")
    return out[0], out[-1]


def scale_of(limits: Limits, joints: int, where: str) -> tuple[Scale, list[str]]:
    """The scale of an arm of `joints` joints, and what of it is a default, in words. Raises
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
    assumed += [f"{n} = {getattr(scale, n):g}" for n, v in single.items() if v is None]
    return replace(scale, **{n: v for n, v in single.items() if v is not None}), assumed


def open_source(path: Path, mapping: Mapping | None) -> tuple[Source, Mapping]:
    """The file, and what maps it: without a mapping, channels that bear the names of telemetry
    fields in SI units. Raises RecordingError, ConfigError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"{path}: wanted telemetry as {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}: "
            "convert it to one of them"
        )
    if path.is_dir():
        raise RecordingError(f"{path}: wanted a file, found a folder: name the files in it")
    if suffix == ".mcap":
        time = mapping.time if mapping is not None else Time()
        topic = mapping.topic if mapping is not None else "/telemetry"
        source: Source = Mcap(path, time.key, time.unit, topic)
        return source, mapping or plain_mapping(path, source.keys(), None)
    columns = read_npz(path) if suffix == ".npz" else read_csv(path)
    mapping = mapping or plain_mapping(path, list(columns), _stamps(path, list(columns)))
    time = mapping.time
    return Table(path, columns, time.key, time.unit, time.rate_hz), mapping


def _stamps(path: Path, keys: list[str]) -> Time:
    for key, unit in (("t_ns", "ns"), ("t", "s"), ("time", "s"), ("t_s", "s")):
        if key in keys:
            return Time(key=key, unit=unit)  # type: ignore[arg-type]
    raise no_key(path, "t", keys)


def plain_mapping(path: Path, keys: list[str], time: Time | None) -> Mapping:
    """What names itself: keys that are telemetry fields, as `kernels.telemetry` defines them."""
    known = [k for k in keys if k in FIELDS]
    if not known:
        raise ConfigError(
            f"{path}: without --map the channels bear the names of telemetry fields "
            f"({', '.join(list(FIELDS)[:8])}, ...), found {', '.join(keys[:30])}: write a mapping, "
            "see examples/score"
        )
    channels = {k: Channel(key=k, optional=True) for k in known}
    if "tcp" in channels:
        channels["tcp"] = Channel(key="tcp", optional=True, layout="xyz quat wxyz")
    if "wrench" in channels:
        channels["wrench"] = Channel(key="wrench", optional=True, frame="tcp", force="on tool")
    return Mapping(channels=channels, time=time or Time())


__all__ = [
    "Channel",
    "Mapping",
    "check",
    "load_mapping",
    "open_source",
    "plain_mapping",
    "scale_of",
]
