"""What a mapping file would have to say so that a group of features is not masked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headway.kernels import spec
from headway.kernels.telemetry import SOURCES

# Of groups that not simply want the channels of their fields: what to give.
_SPECIAL = {
    "dq": "map channels.q",
    "dq_ref": "map channels.q_ref",
    "twist": "map channels.tcp or channels.twist",
    "speed": "map channels.tcp, or channels.speed for |v| alone",
    "spin": "map channels.tcp, or channels.spin for |w| alone",
    "force_norm": "map channels.wrench, or channels.force_norm for |F| alone",
    "torque_norm": "map channels.wrench, or channels.torque_norm for |M| alone",
    "clock": "give constants.limit, the time that the task may take [s]",
    "phase": "give [phase], or map channels.phase",
    "task": "give constants.task, the place of the task in the head's list",
}
_STANDS_IN = {"force": "force_norm", "torque": "torque_norm"}  # where its field is not given either


def unmask(
    bit: str, given: Collection[str], mapped: Collection[str], own_hz: float, hz: float
) -> str:
    """What would unmask the mask `bit` of a file with the fields `given`, of the fields `mapped` by
    its mapping. Its samples come at `own_hz` [Hz] and are brought to ticks of `hz`."""
    if bit in spec.MASK_RATES:
        if own_hz >= spec.MASK_RATES[bit] > hz:
            return f"give a higher time.rate_hz than {hz:g}, or leave it out"
        return f"record faster (the samples come at {own_hz:g} Hz)"
    fields = spec.MASK_FIELDS[bit]
    sources = {s: f for f in fields for s in (f, *SOURCES.get(f, ()))}
    lacking = [f for f in fields if f not in {sources[s] for s in sources if s in given}]
    if not lacking:
        return f"no value in channels.{', '.join(s for s in sources if s in given)} can be used"
    absent = [s for s in sources if s in mapped and s not in given]
    if absent:
        return f"channels.{absent[0]} is mapped, and not in this file"
    if _STANDS_IN.get(bit, bit) not in given:
        bit = _STANDS_IN.get(bit, bit)
    return _SPECIAL.get(bit, f"map channels.{', '.join(lacking)}")


def grouped(masked: dict[str, str]) -> dict[str, list[str]]:
    """What would unmask -> the mask bits that it unmasks, from bit -> what would unmask it."""
    out: dict[str, list[str]] = {}
    for bit, key in masked.items():
        out.setdefault(key, []).append(bit)
    return out


def in_words(masked: dict[str, str]) -> Sequence[str]:
    """Lines such as "force, torque: map channels.wrench"."""
    return [f"{', '.join(bits)}: {key}" for key, bits in grouped(masked).items()]
