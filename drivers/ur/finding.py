"""Controllers of Universal Robots among named hosts, for `headway devices`."""

from __future__ import annotations

import time
from typing import Any

from headway.drivers.codecs.rtde import RtdeDecoder
from headway.drivers.finding import Found, Seen
from headway.drivers.transports.tcp import Tcp
from headway.drivers.ur.greeting import CB3, CB3_HZ, Greeting
from headway.errors import DeviceError

RTDE_PORT = 30004
_ASK_S = 1.0


def find(seen: Seen) -> list[Found]:
    """Controllers among the hosts, by asking which version speaks RTDE there."""
    return [found for host in seen.hosts if (found := _at(host)) is not None]


def _at(host: str) -> Found | None:
    name, _, port = host.partition(":")
    line = Tcp(name, int(port or RTDE_PORT))
    try:
        line.open(_ASK_S)
        version = Greeting(line, RtdeDecoder(), time.monotonic() + _ASK_S).version()
    except DeviceError:
        return None
    finally:
        line.close()
    keys: dict[str, Any] = {"host": name}
    if port:
        keys["rtde_port"] = int(port)
    if version[0] == CB3:
        keys["rate_hz"] = CB3_HZ
    model = f"Universal Robots, software {'.'.join(map(str, version))}"
    todo = {"model": "which robot it is, such as ur5e or ur10, or the path of its URDF"}
    return Found("arms", "ur", host, model, "", True, keys, todo)
