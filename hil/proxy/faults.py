"""The faults that the proxy brings about, as a configuration lists them.

[[fault]]
kind = "delay"
at_s = 2.0
for_s = 1.0
ms = 200.0

[random]
seed = 7
flip = 0.01       # of the chunks
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

from headway.config import NotNegative, SecondsOrNone, Struct
from headway.errors import ConfigError

Kind = Literal[
    "flip",
    "truncate",
    "garbage",
    "drop",
    "silence",
    "duplicate",
    "split",
    "coalesce",
    "delay",
    "reorder",
    "slow",
    "unplug",
    "reset",
]
Wire = Literal["serial", "tcp", "udp"]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
BREAKS = ("unplug", "reset")  # of the connection, not of its bytes

# What can happen on which wire. TCP and UDP have checksums of their own: no flipped bit comes
# through; a datagram comes whole or not at all, or cut by a switch that is broken.
APPLIES: dict[str, tuple[str, ...]] = {
    "serial": (
        "flip", "truncate", "garbage", "drop", "silence", "split", "coalesce", "delay", "slow",
        "unplug",
    ),
    "tcp": ("silence", "split", "coalesce", "delay", "slow", "unplug", "reset"),
    "udp": ("drop", "silence", "duplicate", "reorder", "delay", "truncate", "unplug"),
}  # fmt: skip


class Fault(Struct, frozen=True):
    """`kind` begins `at_s` [s] after the proxy began to serve and lasts `for_s` [s]; 0: it hits one
    chunk. `direction`: of the bytes that it hits. `share`: of the chunks meanwhile. Of the rest, a
    kind uses what concerns it:

    - `flip`: `count` bits of the chunk.
    - `truncate`: the chunk loses a random part of its end.
    - `garbage`: `count` random bytes come before the chunk.
    - `drop`, `silence`: the chunk is lost; `silence` hits all.
    - `duplicate`: the datagram comes twice. `reorder`: it comes `ms` [ms] later than it should, and
      so after others.
    - `split`: the chunk comes in `count` pieces, `ms` apart. `coalesce`: all that comes within `ms`
      arrives in one piece.
    - `delay`: the chunk comes `ms` later.
    - `slow`: the line carries `bytes_s` [1/s], and whoever sends more has to wait.
    - `unplug`: the connection is gone: the host gets an error, and a serial port comes back at
      another path, to which its link leads then. `reset`: the TCP connections are reset."""

    kind: Kind
    at_s: NotNegative = 0.0
    for_s: SecondsOrNone = 0.0
    direction: Literal["to_host", "to_device", "both"] = "to_host"
    share: Probability = 1.0
    count: Count = 3
    ms: Annotated[float, Meta(ge=0.0, le=60_000.0)] = 20.0
    bytes_s: Annotated[float, Meta(gt=0.0)] = 1000.0


class Random(Struct, frozen=True):
    """Faults at random: for each kind, the share of the chunks that it hits, in both directions.
    `delay_ms`: least and largest delay [ms]; `silence_s` [s]: length of a silence."""

    seed: int = 0
    flip: Probability = 0.0
    truncate: Probability = 0.0
    garbage: Probability = 0.0
    drop: Probability = 0.0
    silence: Probability = 0.0
    duplicate: Probability = 0.0
    split: Probability = 0.0
    coalesce: Probability = 0.0
    delay: Probability = 0.0
    reorder: Probability = 0.0
    delay_ms: tuple[NotNegative, NotNegative] = (50.0, 500.0)
    silence_s: NotNegative = 0.3

    def share(self, kind: str) -> float:
        """Of the chunks that `kind` hits."""
        found = getattr(self, kind, 0.0)
        return found if isinstance(found, float) else 0.0

    def kinds(self) -> tuple[str, ...]:
        """The kinds that happen."""
        return tuple(kind for kind in get_args(Kind) if self.share(kind) > 0.0)


def check(wire: str, faults: tuple[Fault, ...], random: Random) -> None:
    """Raises ConfigError for a fault that cannot happen on `wire`."""
    for kind in (*(f.kind for f in faults), *random.kinds()):
        if kind not in APPLIES[wire]:
            raise ConfigError(
                f"wanted faults that happen on {wire} ({', '.join(APPLIES[wire])}), found "
                f"{kind!r}: leave it out"
            )
