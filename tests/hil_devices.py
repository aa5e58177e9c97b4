"""Devices that keep their promises, and some that each break one: for the tests of the suite."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from msgspec import structs

from headway.clock import NS, Clock
from headway.drivers.arms.null import Config as ArmConfig
from headway.drivers.arms.null import NullArm
from headway.drivers.cameras.null import Config as CameraConfig
from headway.drivers.cameras.null import NullCamera
from headway.drivers.codecs.crc import modbus
from headway.drivers.ft.null import Config as FtConfig
from headway.drivers.ft.null import NullForceTorque
from headway.drivers.grippers.null import Config as GripperConfig
from headway.drivers.grippers.null import NullGripper
from headway.drivers.model import load
from headway.drivers.stream_source import StreamSource
from headway.drivers.transports.serial import SerialPort
from headway.errors import DeviceError, Stale
from headway.hil.line import SerialLine
from headway.hil.partners import Wire
from headway.hil.suite.subject import Subject
from headway.types import Frame, Info, Sample, Sent, Stamp, Wrench

HZ = 100.0


class Made(Subject):
    """A subject whose devices `make(clock, table)` makes."""

    def __init__(self, folder: str, make: Any, cfg: Any, **more: Any) -> None:
        super().__init__(folder, "null", **more)
        self._make, self._cfg = make, cfg

    @property
    def cfg(self) -> Any:
        return self._cfg

    def device(self, table: dict[str, Any] | None = None) -> Any:
        return self._make(self.clock, self.table if table is None else table)


def arm(kind: type[NullArm] = NullArm) -> Made:
    cfg = ArmConfig(rate_hz=HZ, servo_rad_s=60.0)
    return Made("arms", lambda clock, _: kind(clock, cfg, load("ur5e")), cfg)


def sensor(kind: type[NullForceTorque] = NullForceTorque) -> Made:
    cfg = FtConfig(rate_hz=HZ)
    return Made("ft", lambda clock, _: kind(clock, cfg), cfg)


def gripper(kind: type[NullGripper] = NullGripper) -> Made:
    cfg = GripperConfig(rate_hz=HZ)
    return Made("grippers", lambda clock, _: kind(clock, cfg), cfg)


def camera(kind: type[NullCamera] = NullCamera, depth: bool = True) -> Made:
    """`depth`: whether the camera has what its configuration asks for."""
    cfg = CameraConfig(rate_hz=HZ)
    made = structs.replace(cfg, depth=depth)
    return Made("cameras", lambda clock, _: kind(clock, made), cfg)


class ReStamps(NullForceTorque):
    """Gives the last sample again, under a new time, where it has no new one yet."""

    def __init__(self, clock: Clock, cfg: FtConfig) -> None:
        super().__init__(clock, cfg)
        self._again = 0

    def read(self, timeout_s: float) -> Sample[Wrench]:
        if timeout_s >= 1.0 / HZ:
            return super().read(timeout_s)
        self._again += 1
        t = self.clock.now()
        return Sample(Stamp(t, t, 1_000_000 + self._again), self.sample())


class GoesBack(NullForceTorque):
    """Its times go back now and then, as those of a global clock do."""

    def read(self, timeout_s: float) -> Sample[Wrench]:
        sample = super().read(timeout_s)
        stamp = sample.stamp
        back = 200_000_000 if stamp.seq % 10 == 0 else 0
        return structs.replace(sample, stamp=structs.replace(stamp, t_ns=stamp.t_ns - back))


class KnowsNoTime(NullForceTorque):
    """Its times are ahead of all clocks, as it says itself."""

    def read(self, timeout_s: float) -> Sample[Wrench]:
        sample = super().read(timeout_s)
        ahead = structs.replace(sample.stamp, t_ns=sample.stamp.t_ns + 10 * NS, error_ns=60 * NS)
        return structs.replace(sample, stamp=ahead)


class LeaksDescriptors(NullForceTorque):
    """Opens a file each time, and closes none."""

    opened: list[int] = []  # noqa: RUF012 - the test closes them

    def open(self, timeout_s: float) -> None:
        super().open(timeout_s)
        self.opened.append(os.open(os.devnull, os.O_RDONLY))


class ReadsWhenClosed(NullForceTorque):
    """Gives samples after it was closed."""

    def close(self) -> None:
        pass


class Hangs(NullForceTorque):
    """Does not come back from `open`, until `let_go`."""

    let_go = threading.Event()

    def open(self, timeout_s: float) -> None:
        self.let_go.wait()


class AnotherKind(NullForceTorque):
    def __init__(self, clock: Clock, cfg: FtConfig) -> None:
        super().__init__(clock, cfg)
        self.info = Info("another", "a sensor")


class TakesNan(NullArm):
    """Takes whatever is commanded, and goes there where it can."""

    def command(self, q: Any, *, deadline_ns: int) -> Sent:
        if np.isfinite(q).all() and q.shape == (self.model.n,):
            return super().command(q, deadline_ns=deadline_ns)
        return Sent(q, self.clock.now())


class SendsAndRefuses(NullArm):
    """Refuses what is out of range, once it has sent it."""

    def command(self, q: Any, *, deadline_ns: int) -> Sent:
        try:
            return super().command(q, deadline_ns=deadline_ns)
        except DeviceError:
            if np.isfinite(q).all() and q.shape == (self.model.n,):
                self._servo.follow(q)
            raise


class StopDoesNothing(NullArm):
    def stop(self, category: int = 2) -> None:
        pass


class ForgetsToWait(NullArm):
    """Takes commands without having been activated."""

    def open(self, timeout_s: float) -> None:
        super().open(timeout_s)
        self.activate()


class NeverMoves(NullArm):
    def command(self, q: Any, *, deadline_ns: int) -> Sent:
        super().command(self.sample().q, deadline_ns=deadline_ns)
        return Sent(q, self.clock.now())


class SaysItClamps(NullArm):
    """Says that it sent a tenth of a step that is too large, and sends all of it."""

    def command(self, q: Any, *, deadline_ns: int) -> Sent:
        here = self.sample().q
        super().command(q, deadline_ns=deadline_ns)
        return Sent(here + 0.1 * (q - here), self.clock.now())


class NoStroke(NullGripper):
    """Takes any width."""

    def command(self, width: float, *, force: float) -> None:
        super().command(width, force=force)
        self._width = width


class KeepsOneDepth(NullCamera):
    """Writes each depth image into the same array."""

    def sample(self) -> Frame:
        frame = super().sample()
        if frame.depth is not None:
            frame.depth[:] = self._seq
        return frame


class Grey(NullCamera):
    """Gives images without colours, and has no depth."""

    def sample(self) -> Frame:
        return structs.replace(super().sample(), rgb=super().sample().rgb[..., 0])


# A sensor at the end of a serial line: frames of 4 bytes, an int16 in 1/100 N and a checksum.


class StreamDecoder:
    """`checks`: whether a frame with a wrong checksum is dropped."""

    def __init__(self, checks: bool = True) -> None:
        self.errors = self.skipped = 0
        self._rest, self._checks = b"", checks

    def feed(self, data: bytes) -> list[float]:
        out, rest = [], self._rest + data
        while len(rest) >= 5:
            body, crc = rest[:3], rest[3:5]
            good = body[0] == 0xA5 and (
                not self._checks or modbus(body).to_bytes(2, "little") == crc
            )
            if good:
                out.append(struct.unpack("<h", body[1:])[0] / 100.0)
                rest = rest[5:]
            else:
                self.errors += body[0] == 0xA5
                self.skipped += 1
                rest = rest[1:]
        self._rest = rest
        return out

    def reset(self) -> None:
        self._rest = b""


class StreamSensor(StreamSource[float, Wrench]):
    """A good driver."""

    def __init__(self, clock: Clock, table: dict[str, Any], checks: bool = True) -> None:
        port = SerialPort(table["port"], 115200)
        super().__init__(
            clock, Info("null", "a stream", uri=port.uri), port, StreamDecoder(checks), HZ, 0.5
        )

    def greet(self, timeout_s: float) -> None:
        pass

    def sample(self, frame: float, arrival_ns: int) -> Sample[Wrench]:
        stamp = Stamp(arrival_ns, arrival_ns, self.counts.sample(arrival_ns))
        return Sample(stamp, Wrench(np.array([frame, 0.0, 0.0]), np.zeros(3)))


class StaleStream(StreamSensor):
    """Stamps its last sample anew while its device is silent, as some libraries do."""

    def __init__(self, clock: Clock, table: dict[str, Any]) -> None:
        super().__init__(clock, table)
        self._last: Sample[Wrench] | None = None

    def read(self, timeout_s: float) -> Sample[Wrench]:
        with contextlib.suppress(Stale):
            self._last = super().read(timeout_s)
            return self._last
        assert self._last is not None
        now = self.clock.now()
        return structs.replace(self._last, stamp=Stamp(now, now, self.counts.sample(now)))


@contextlib.contextmanager
def streamed(make: Any, alive: Callable[[], bool] = lambda: True) -> Iterator[Made]:
    """A subject behind a serial line with a device at its end, which sends while it is `alive`, and
    whose drivers `make` makes."""
    line, stop = SerialLine(), threading.Event()

    def serve() -> None:
        while not stop.wait(1.0 / HZ):
            if not alive():
                continue
            force = 5.0 * math.sin(3.0 * time.monotonic())
            body = b"\xa5" + struct.pack("<h", round(100.0 * force))
            line.write(body + modbus(body).to_bytes(2, "little"))

    thread = threading.Thread(target=serve)
    thread.start()
    cfg = FtConfig(rate_hz=HZ)
    wire = Wire("serial", ("port",))
    try:
        yield Made("ft", make, cfg, table={"port": line.path}, wire=wire, may_fault=True)
    finally:
        stop.set()
        thread.join()
        line.close()
