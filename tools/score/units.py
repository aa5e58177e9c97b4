"""Units, also those that names of columns carry, as in "q1 [deg]", "fx, N" and "width_mm"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headway import units
from headway.errors import ConfigError
from headway.kernels.telemetry import FIELDS

ANGLE = units.alternatives("rad")
TIME = tuple(units.alternatives("s"))
_OTHER_WORDS = {
    "degree": "deg", "degrees": "deg", "°": "deg", "radian": "rad", "radians": "rad",
    "meter": "m", "metre": "m", "meters": "m", "metres": "m", "sec": "s", "seconds": "s",
    "second": "s", "milliseconds": "ms", "millisec": "ms", "msec": "ms", "µs": "us",
    "microseconds": "us", "nanoseconds": "ns", "newton": "N", "newtons": "N", "n": "N",
    "nm": "Nm", "n·m": "Nm", "n*m": "Nm", "n.m": "Nm", "n m": "Nm", "rad/sec": "rad/s",
    "deg/sec": "deg/s", "°/s": "deg/s", "m/sec": "m/s", "r/min": "rpm", "percent": "%",
}  # fmt: skip
# Units count in any case ("Deg", "RPM") where that leaves one meaning: MN is no mN, Ns no ns, and a
# capital alone may be a quantity (M a moment).
_EXACT = ("mN", "mNm", "ns")
_ANY_CASE = {u.lower(): u for u in units.UNITS if len(u) > 1 and u not in _EXACT} | _OTHER_WORDS
_BRACKETS = re.compile(r"[\[(]\s*([^\[\]()]+?)\s*[\])]\s*$")
_COMMA = re.compile(r",\s*([^,]+?)\s*$")
# Behind an underscore only units that can mean nothing else: "q_s" may be anything.
_SUFFIX = re.compile(r"[a-z0-9]_(deg|rad|mm|cm|rpm|kN|mN|Nmm|mNm|ms|us|ns)$", re.IGNORECASE)
# In brackets also the place of a value ("q[0]"), its axis, and the sign of a number without a unit.
_PLACE = re.compile(r"\d+|[-xyzw]", re.IGNORECASE)


def spelled(word: str) -> str | None:
    """A unit as `headway.units` spells it, None for a word that is no unit."""
    word = word.strip().strip("[]()").strip()
    if word in units.UNITS:
        return word
    return _ANY_CASE.get(word.lower())


def of_name(name: str) -> str | None:
    """The unit that the name of a column carries, None where it carries none. A word in brackets
    that is no known unit is given as it is: to take its values for SI ones would be a guess."""
    if found := _BRACKETS.search(name):
        return None if _PLACE.fullmatch(found[1]) else spelled(found[1]) or found[1]
    for pattern in (_COMMA, _SUFFIX):
        if found := pattern.search(name):
            return spelled(found[1])
    return None


def is_sure(name: str) -> bool:
    """Whether a name carries its unit in brackets, where it can be nothing else than a unit."""
    return _BRACKETS.search(name) is not None


def bases(field: str) -> list[str]:
    """The SI units of a telemetry field: of its first three values and of the rest, where these
    differ."""
    return FIELDS[field][1].replace("quat wxyz", "rad").split(", ")


def valid_for(base: str) -> dict[str, float]:
    """What may be given instead of the SI unit `base`, itself included, and its factor."""
    if base == "0..1":
        return units.alternatives("1")
    return units.alternatives(base) if base in units.UNITS else {base: 1.0}


def factors(field: str, named: Sequence[str], where: str) -> tuple[float, float]:
    """What the first three values of a telemetry field, and the rest, are multiplied by to be in SI
    units, where they are in the units `named`. Raises ConfigError."""
    wanted = bases(field)
    if len(named) > len(wanted):
        raise ConfigError(f"{where}: `unit` wants {len(wanted)} of them, found {len(named)}")
    out = [1.0] * len(wanted)
    for i, unit in enumerate(named):
        valid = valid_for(wanted[i])
        if unit not in valid:
            raise ConfigError(f"{where}: unknown unit `{unit}`, valid: {', '.join(valid)}")
        out[i] = valid[unit]
    return out[0], out[-1]


def agreed(
    field: str,
    named: list[str],
    scaled: bool,
    columns: Sequence[tuple[str, str | None]],
    where: str,
    notes: list[str],
) -> list[str]:
    """The units to use, from those that the mapping gives (`named`) and those that the columns
    (name, unit) carry. `scaled`: the mapping gives a `scale`, which may stand for a unit that is
    not known. Raises ConfigError where the two differ, or a column's unit is none of the field's,
    or one that is not known and that the mapping says nothing about."""
    wanted = bases(field)
    said: list[str | None] = [None] * len(wanted)
    for i, (name, unit) in enumerate(columns):
        if unit is None:
            continue
        part = 0 if len(wanted) == 1 or i < 3 or len(columns) < 4 else 1
        valid = valid_for(wanted[part])
        if unit not in units.UNITS:
            if not (named or scaled or len(valid) == 1):  # the one of a flag or an index
                raise ConfigError(
                    f"{where}: wanted a unit in the name of the column `{name}`, found {unit!r}, "
                    f"valid: {', '.join(valid)}: give `unit` or `scale` in the mapping, or rename "
                    "the column"
                )
        elif unit not in valid:
            text = f"`{name}` is in {unit} by its name, {field} wants {', '.join(valid)}"
            if is_sure(name):
                raise ConfigError(f"{where}: {text}: check the key")
            notes.append(f"check {field}: {text}: the mapping's unit is taken")
        elif said[part] in (None, unit):
            said[part] = unit
        else:
            raise ConfigError(
                f"{where}: wanted one unit for all columns, found {said[part]} and {unit} "
                f"(`{name}`): map them with `scale`, or write the file again"
            )
    for given, unit in zip(named, said, strict=False):  # the mapping may give the first alone
        if unit not in (None, given):
            raise ConfigError(
                f"{where}: the mapping gives the unit {given}, the names of the columns say "
                f"{unit}: correct `unit`, or leave it out"
            )
    if named or not any(said):
        return named
    used = [s or base for s, base in zip(said, wanted, strict=True)]
    if used != wanted:
        notes.append(f"{field}: unit {', '.join(used)}, as the names of the columns say")
    return used
