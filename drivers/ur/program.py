"""The program that moves the arm, servo.script beside this file, and how a controller gets it."""

from __future__ import annotations

import contextlib
import re
from importlib import resources

from headway.drivers.transports.tcp import Tcp
from headway.errors import DeviceError

# What the program says in its first output register.
READY, FOLLOWING, LEFT = 1, 2, 3
# What the host says in the second input register.
LEAVE, HOLD, FOLLOW = 0, 1, 2


def servo(
    session: int,
    *,
    registers: int,
    watchdog_hz: float,
    period_s: float,
    lookahead_s: float,
    gain: float,
    deceleration: float,
) -> str:
    """The program of the session number `session`, which uses the registers from `registers` on. It
    calls servoj for `period_s` [s] with `lookahead_s` [s] and `gain`, and stops by `deceleration`
    [rad/s^2]."""
    values: dict[str, object] = {
        "BASE": registers,
        **{f"BASE_{i}": registers + i for i in range(6)},
        "SESSION": session,
        "WATCHDOG": f"{watchdog_hz:g}",
        "PERIOD": f"{period_s:g}",
        "LOOKAHEAD": f"{lookahead_s:g}",
        "GAIN": f"{gain:g}",
        "DECELERATION": f"{deceleration:g}",
    }
    text = resources.files(__package__).joinpath("servo.script").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return re.sub(r"@(\w+)@", lambda m: str(values[m[1]]), "\n".join(lines)) + "\n"


def stop(deceleration: float) -> str:
    """A program that replaces the one that runs, and stops the arm by `deceleration` [rad/s^2]."""
    return f"def headway_stop():\n  stopj({deceleration:g})\nend\n"


class Upload:
    """`with Upload(host, port, program, timeout_s):` gives `program` to the controller, which
    starts it in place of the one that runs. Whether it runs is for the state to tell; stay in the
    block until it does: a controller may drop what it has not read of a connection that ends.
    Raises DeviceError where the controller takes none."""

    def __init__(self, host: str, port: int, program: str, timeout_s: float) -> None:
        self.program, self.timeout_s = program, timeout_s
        self._tcp = Tcp(host, port)

    def __enter__(self) -> Upload:
        try:
            self._tcp.open(self.timeout_s)
            self._tcp.write(self.program.encode("ascii"), self.timeout_s)
        except DeviceError as e:
            self._tcp.close()
            raise DeviceError(
                f"wanted to give the controller the program that moves the arm, found: {e}: is "
                "this its port for scripts (30002), and is the robot in remote control?"
            ) from None
        return self

    def taken(self) -> None:
        """Wait for a first state on this connection, which the controller sends to everybody: it
        has had the time to read then. Nothing happens where none comes in time."""
        with contextlib.suppress(DeviceError):
            self._tcp.read(4096, self.timeout_s)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(DeviceError):
            self._tcp.discard()
        self._tcp.close()
