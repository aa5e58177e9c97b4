"""Units, and the units that names of columns carry: "q1 [deg]", "fx, N", "width_mm"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headway import units
from headway.errors import ConfigError
from headway.kernels.telemetry import FIELDS

ANGLE = units.alternatives("rad")
# base unit of a telemetry field -> what may be given instead, and its factor
FACTORS = {
    base: units.alternatives(base) for base in ("rad", "m", "rad/s", "m/s", "N", "Nm", "s")
} | {"0..1": units.alternatives("1")}
TIME = tuple(units.alternatives("s"))
_OTHER_WORDS = {
    "degree": "deg", "degrees": "deg", "°": "deg", "radian": "rad", "radians": "rad",
    "meter": "m", "metre": "m", "meters": "m", "metres": "m", "sec": "s", "seconds": "s",
    "second": "s", "milliseconds": "ms", "millisec": "ms", "µs": "us", "microseconds": "us",
    "nanoseconds": "ns", "newton": "N", "newtons": "N", "n": "N", "nm": "Nm", "n·m": "Nm",
    "n*m": "Nm", "n.m": "Nm", "n m": "Nm", "rad/sec": "rad/s", "deg/sec": "deg/s", "°/s": "deg/s",
    "m/sec": "m/s", "r/min": "rpm", "percent": "%",
}  # fmt: skip
_BRACKETS = re.compile(r"[\[(]\s*([^\[\]()]+?)\s*[\])]\s*$")
_COMMA = re.compile(r",\s*([^,]+?)\s*$")
# Of a name with an underscore only units that mean nothing else: "q_s" may be anything.
_SUFFIX = re.compile(r"[a-zA-Z0-9]_(deg|rad|mm|cm|rpm|kN|mN|Nmm|mNm|ms|us|ns)$")


def spelled(word: str) -> str | None:
    """A unit as this module spells it, None for a word that is none."""
    word = word.strip().strip("[]()").strip()
    if word in units.UNITS:
        return word
    return _OTHER_WORDS.get(word.lower())


def of_name(name: str) -> str | None:
    """The unit that the name of a column carries, None where it carries none."""
    for pattern in (_BRACKETS, _COMMA, _SUFFIX):
        if found := pattern.search(name):
            return spelled(found[1])
    return None


def is_sure(name: str) -> bool:
    """Whether the name carries its unit in brackets, where it can be nothing else."""
    return _BRACKETS.search(name) is not None


def factors(field: str, given: str | list[str] | None, where: str) -> tuple[float, float]:
    """Of a telemetry field's first three values, and of the rest. Raises ConfigError."""
    wanted = bases(field)
    named = [given] if isinstance(given, str) else list(given or [])
    if len(named) > len(wanted):
        raise ConfigError(f"{where}: `unit` wants {len(wanted)} of them, found {len(named)}")
    out = []
    for i, base in enumerate(wanted):
        valid = FACTORS.get(base, {base: 1.0})
        if i >= len(named):
            out.append(1.0)
        elif named[i] in valid:
            out.append(valid[named[i]])
        else:
            raise ConfigError(f"{where}: unknown unit `{named[i]}`, valid: {', '.join(valid)}")
    return out[0], out[-1]


def bases(field: str) -> list[str]:
    """The SI units of a telemetry field: of its first three values, and of the rest."""
    return FIELDS[field][1].replace("quat wxyz", "rad").split(", ")


def agreed(
    field: str,
    given: str | list[str] | None,
    columns: Iterable[tuple[str, str | None]],
    where: str,
    notes: list[str],
) -> str | list[str] | None:
    """The units to use, from those that the mapping gives and those that the columns (name, unit)
    carry. Raises ConfigError where the two differ, or a column's unit is none of the field's."""
    wanted = bases(field)
    said: list[str | None] = [None] * len(wanted)
    columns = list(columns)
    for i, (name, unit) in enumerate(columns):
        if unit is None:
            continue
        part = 0 if len(wanted) == 1 or i < 3 or len(columns) < 4 else 1
        valid = FACTORS.get(wanted[part], {wanted[part]: 1.0})
        if unit not in valid:
            text = f"`{name}` is in {unit} by its name, {field} wants {', '.join(valid)}"
            if is_sure(name):
                raise ConfigError(f"{where}: {text}: check the key")
            notes.append(f"check {field}: {text}: the mapping's unit is taken")
            continue
        if said[part] not in (None, unit):
            raise ConfigError(
                f"{where}: wanted one unit for all columns, found {said[part]} and {unit} "
                f"(`{name}`): map them with `scale`, or write the file again"
            )
        said[part] = unit
    if all(s is None for s in said):
        return given
    named = [given] if isinstance(given, str) else list(given or [])
    for i, unit in enumerate(said):
        if unit is not None and i < len(named) and named[i] != unit:
            raise ConfigError(
                f"{where}: the mapping gives the unit {named[i]}, the names of the columns say "
                f"{unit}: correct `unit`, or leave it out"
            )
    if not named and any(s is not None and s != b for s, b in zip(said, wanted, strict=True)):
        shown = ", ".join(s or b for s, b in zip(said, wanted, strict=True))
        notes.append(f"{field}: unit {shown}, as the names of the columns say")
    return named or [s or b for s, b in zip(said, wanted, strict=True)]
