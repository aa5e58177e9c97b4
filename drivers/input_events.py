"""Game pads and space mice as the Linux kernel gives them (/dev/input/event*), read by evdev.

Their events say what has changed. So an axis keeps its value until another one comes, or for
relative axes, which send nothing at rest, until `quiet_s` have passed.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import Any

from headway.clock import NS, Clock
from headway.errors import DeviceError, Missing
from headway.types import Info

SYN, KEY, REL, ABS = 0, 1, 2, 3  # types of events, of linux/input-event-codes.h
_REPORT, _DROPPED = 0, 3  # of SYN: what belongs together ends; the kernel's buffer was full
_JOIN_S = 2.0


class InputEvents:
    """The device at `path`, or the first one for which `fits(device)` holds where it is "". `what`
    it is, for messages. A thread of its own reads it between `open` and `close`."""

    def __init__(
        self, clock: Clock, path: str, what: str, fits: Callable[[Any], bool], quiet_s: float
    ) -> None:
        self.info = Info(what, uri=path)
        self._clock, self._path, self._what, self._fits = clock, path, what, fits
        self._quiet_ns = round(quiet_s * NS)
        self._device: Any = None
        self._thread: threading.Thread | None = None
        self._ends: tuple[int, int] | None = None  # a pipe whose end ends the thread
        self._range: dict[int, tuple[float, float]] = {}  # of absolute axes
        self._absolute: dict[int, float] = {}
        self._relative: dict[int, tuple[float, int]] = {}  # with the time of the event [ns]
        self._held: set[int] = set()
        self._presses: dict[int, int] = {}
        self._behind = False  # events were lost, and the state was not asked for yet
        self.fault = ""

    def open(self) -> None:
        """Find the device and begin to read it. Does nothing when it is read. Raises DeviceError,
        and Missing without evdev."""
        if self._thread is not None and not self.fault:
            return
        self.close()
        evdev = _evdev()
        self._device = self._find(evdev)
        self._range, self._absolute = {}, {}  # it may be another device than the last one
        for code, info in _axes(self._device):
            self._range[code] = (float(info.min), float(info.max))
            self._absolute[code] = float(info.value)
        self.info = Info(self._what, str(self._device.name), uri=str(self._device.path))
        self.fault = ""
        self._held, self._relative, self._behind = set(), {}, False
        self._ends = os.pipe()
        self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
        self._thread.start()

    def _find(self, evdev: Any) -> Any:
        names = []
        for path in [self._path] if self._path else sorted(evdev.list_devices()):
            try:
                device = evdev.InputDevice(path)
            except OSError as e:
                if self._path:
                    raise DeviceError(
                        f"wanted a {self._what} at {path}, found {e.strerror}: is it plugged in, "
                        "and is this user in the group `input`?"
                    ) from None
                continue
            if self._path or self._fits(device):
                return device
            names.append(str(device.name))
            device.close()
        raise DeviceError(
            f"wanted a {self._what}, found {', '.join(names) or 'no input device'}: plug it in, "
            "add this user to the group `input` (sudo usermod -aG input $USER, then log in again), "
            "or name its `device`"
        )

    def axis(self, code: int) -> float:
        """The absolute axis `code`, -1..1 over its range; 0 for one that there is not."""
        low, high = self._range.get(code, (0.0, 0.0))
        if high <= low:
            return 0.0
        return 2.0 * (self._absolute[code] - low) / (high - low) - 1.0

    def relative(self, code: int) -> float:
        """The relative axis `code` in its counts, 0 after `quiet_s` without an event."""
        value, t_ns = self._relative.get(code, (0.0, 0))
        return value if self._clock.now() - t_ns <= self._quiet_ns else 0.0

    def held(self, code: int) -> bool:
        """Whether the button `code` is down."""
        return code in self._held

    def presses(self, code: int) -> int:
        """How often the button `code` was pressed so far."""
        return self._presses.get(code, 0)

    def close(self) -> None:
        """End the thread."""
        thread, self._thread = self._thread, None
        if self._ends is not None:
            os.close(self._ends[1])
        if thread is not None:
            thread.join(_JOIN_S)
        if self._ends is not None:
            os.close(self._ends[0])
            self._ends = None
        if self._device is not None:
            with contextlib.suppress(OSError):
                self._device.close()
            self._device = None

    def _run(self) -> None:
        assert self._ends is not None
        device, ended = self._device, self._ends[0]
        try:
            while ended not in select.select([device.fd, ended], [], [])[0]:
                for event in device.read():
                    self._take(event.type, event.code, event.value)
        except (OSError, ValueError) as e:
            self.fault = str(getattr(e, "strerror", None) or e)

    def _take(self, kind: int, code: int, value: int) -> None:
        if kind == SYN and code == _DROPPED:
            # A release may be among what is lost: nothing is held until the device itself says so.
            self._held, self._relative, self._behind = set(), {}, True
        elif self._behind:  # Documentation/input/event-codes.rst: wait for the report, then ask
            if kind == SYN and code == _REPORT:
                self._behind = False
                self._ask()
        elif kind == ABS:
            self._absolute[code] = float(value)
        elif kind == REL:
            self._relative[code] = (float(value), self._clock.now())
        elif kind == KEY and value == 1:
            self._held = {*self._held, code}
            self._presses[code] = self._presses.get(code, 0) + 1
        elif kind == KEY and value == 0:
            self._held = self._held - {code}

    def _ask(self) -> None:
        """Ask the device for its buttons and axes as they are now. Raises OSError when it is
        gone."""
        for code in self._absolute:
            self._absolute[code] = float(self._device.absinfo(code).value)
        self._held = set(self._device.active_keys())

    def check(self) -> None:
        """Raises DeviceError when the device is gone, or closed."""
        if self.fault or self._thread is None:
            why = self.fault or "it is closed"
            raise DeviceError(
                f"the {self.info.model or self._what} is gone ({why}): plug it in, and take over "
                "again"
            )


def codes(device: Any, kind: int) -> set[int]:
    """The codes of the events of `kind` that `device` may send."""
    return {c[0] if isinstance(c, tuple) else c for c in device.capabilities().get(kind, [])}


def _axes(device: Any) -> list[tuple[int, Any]]:
    """Code and range of the absolute axes of `device`."""
    return [c for c in device.capabilities().get(ABS, []) if isinstance(c, tuple)]


def _evdev() -> Any:
    try:
        import evdev
    except ImportError:
        raise Missing(
            "a game pad or a space mouse wants evdev: install it by `pip install "
            "'headway[teleop]'` (Linux; it wants a C compiler and the kernel's headers)"
        ) from None
    return evdev
