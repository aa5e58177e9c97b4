"""The person at the terminal: what each key does, and what is said."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headway.drivers import Input
from headway.drivers.inputs.keyboard import TAKE, Keys
from headway.edge.control.loop import NO_EPISODE, Loop
from headway.errors import DeviceError
from headway.types import Vec

VERDICTS = {"y": True, "n": False}
DISCARD, END, NEXT = "x", "z", "\r\n"
NOTE = (
    "teleop: Enter begins an episode; the space bar takes the arm and lets it go; y ends the "
    "episode as a success, n as a failure, x throws it away (also the last one); z ends the session"
)
NOTE_KEYBOARD = (
    "keyboard: w s a d move the arm along x and y of the base, r f up and down, q e turn it, g "
    "opens or closes the jaws"
)
SAID = ("teleop: you steer", "teleop: the arm holds")
_POLL_S = 0.2


class Steering:
    """`device`, as long as the person behind `keys` has taken the arm. A device that fails lets it
    go, which is told to `say`."""

    def __init__(self, device: Input, keys: Keys, say: Callable[[str], None]) -> None:
        self.name, self.actions = device.info.kind, device.actions
        self._device, self._keys, self._say = device, keys, say

    def reset(self) -> None:
        """Begin an episode: nobody steers yet."""
        self._device.reset()
        self._keys.release()

    def read(self) -> Vec | None:
        """The device's action, None while nobody steers."""
        if not self._keys.steering:
            return None
        try:
            return self._device.read()
        except DeviceError as e:
            self._keys.release()
            self._say(f"{SAID[1]}: {e}")
            return None


class Session:
    """What the person wants beside steering. Keys come by `take`, from another thread."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.keys = Keys(say, SAID)
        self.discarded = False  # whether the episode that runs, or the last one, is thrown away
        self._say = say
        self._loop: Loop | None = None
        self._device: Input | None = None
        self._go: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._waiting = False

    def attach(self, loop: Loop, device: Input) -> None:
        """From now on keys are about the episodes of `loop`, steered by `device`."""
        self._loop, self._device = loop, device

    def take(self, key: str) -> None:
        """Do what `key` says."""
        loop = self._loop
        if loop is None:
            return
        if key in NEXT:
            if self._waiting:
                self._go.put(True)
        elif key == END:
            loop.stop_requested = True
            self._go.put(False)
        elif key == TAKE:
            self._take_over()
        elif key == DISCARD:
            loop.finish()
            if not self.discarded:
                self.discarded = True
                self._say("teleop: this episode is thrown away")
        elif key in VERDICTS:
            if why := loop.finish(VERDICTS[key]):
                self._say(f"teleop: {why}")
        else:
            self.keys.take(key)

    def _take_over(self) -> None:
        if self._waiting:
            self._say(f"teleop: {NO_EPISODE}: Enter begins one")
            return
        if not self.keys.steering and self._device is not None:
            try:
                self._device.activate()
            except DeviceError as e:
                self._say(f"{SAID[1]}: {e}")
                return
        self.keys.take(TAKE)

    def wait(self) -> bool:
        """Wait until the person begins the next episode. False when the session is over."""
        assert self._loop is not None
        while not self._go.empty():
            self._go.get()
        self._waiting = True
        try:
            go = None
            while go is None and not self._loop.stop_requested:
                go = self._answer()
            return bool(go)
        finally:
            self._waiting = False

    def _answer(self) -> bool | None:
        try:
            return self._go.get(timeout=_POLL_S)
        except queue.Empty:
            return None


@contextmanager
def voice(print_line: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """A function that says a line by `print_line` from a thread of its own, so that the control
    loop never waits for a terminal. All has been said when the block ends."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def speak() -> None:
        while (line := lines.get()) is not None:
            print_line(line)

    thread = threading.Thread(target=speak, name="teleop voice", daemon=True)
    thread.start()
    try:
        yield lines.put
    finally:
        lines.put(None)
        thread.join()
