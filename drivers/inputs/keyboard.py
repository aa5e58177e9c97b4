"""The keyboard of the terminal, key by key: it moves the TCP along the axes of the base, and opens
and closes the jaws.

A terminal says that a key was pressed, and repeats a key that is held down, but not that it is
released. So a key moves for `held_s`, and the repeats keep it moving.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway import config
from headway.clock import NS, Clock
from headway.drivers import Context
from headway.drivers.inputs import TCP_VELOCITY
from headway.errors import ConfigError
from headway.types import Info, Vec

KEYS = "keys"  # under which the terminal's keys are found in a run's context
TAKE, GRIP = " ", "g"
# Key -> axis of the base (x, y, z, or a turn about z) and direction.
MOVES = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0),
    "r": (2, 1.0), "f": (2, -1.0), "q": (3, 1.0), "e": (3, -1.0),
}  # fmt: skip
SPEED = np.array([0.06, 0.06, 0.06, 0.6])  # [m/s] and [rad/s]
SAID_PATCH = ("patch: you steer", "patch: the policy steers")


class Keys:
    """What the person at the keyboard wants: whether to steer, where to, and what of the jaws. Keys
    may come from another thread. `say` is called when the arm changes hands, with the first of the
    two lines `said` when the person begins to steer, with the second when the person ends."""

    def __init__(
        self, say: Callable[[str], None] = lambda line: None, said: tuple[str, str] = SAID_PATCH
    ) -> None:
        self._say, self._said = say, said
        self._moves: set[str] = set()
        self.steering = False
        self.turned = False  # whether the jaws are to do the opposite of what they did

    def take(self, key: str) -> None:
        """The key `key` was pressed. All but TAKE mean something only to whoever steers."""
        if key == TAKE:
            self.release(not self.steering)
            self._say(self._said[0 if self.steering else 1])
        elif self.steering and key == GRIP:
            self.turned = not self.turned
        elif self.steering and key in MOVES:
            self._moves = {*self._moves, key}

    def release(self, steering: bool = False) -> None:
        """Forget what was pressed; from now on the person steers, or does not."""
        self.steering, self.turned, self._moves = steering, False, set()

    def velocity(self) -> NDArray[np.float64]:
        """Velocity (4,) in the axes of the base, x y z [m/s] and about z [rad/s], by the keys that
        were pressed since the last call."""
        pressed, self._moves = self._moves, set()
        v = np.zeros(4)
        for key in pressed:
            axis, sign = MOVES[key]
            v[axis] += sign
        out: NDArray[np.float64] = v * SPEED
        return out


class Config(config.Struct, frozen=True):
    """Keys of `[input]` for the kind `keyboard`. `speed` [m/s] and `turn` [rad/s] while a key is
    held; `held_s` [s]: how long a key counts as held after it was pressed or repeated."""

    speed: config.Positive = 0.06
    turn: config.Positive = 0.6
    held_s: config.Seconds = 0.1


class Keyboard:
    """The keys `keys` as an input on `clock`."""

    actions = TCP_VELOCITY

    def __init__(self, cfg: Config, keys: Keys, clock: Clock) -> None:
        self.info = Info("keyboard", "the terminal's keyboard")
        self._keys, self._clock = keys, clock
        self._scale = np.array([cfg.speed, cfg.speed, cfg.speed, cfg.turn]) / SPEED
        self._held_ns = round(cfg.held_s * NS)
        self._velocity = np.zeros(4)
        self._until = 0  # when the keys that were pressed count as released [ns]
        self._closed = False

    def open(self, timeout_s: float) -> None:
        """Does nothing: the terminal is there."""

    def activate(self) -> None:
        self._until = 0

    def reset(self) -> None:
        self._closed, self._until = False, 0

    def read(self) -> Vec | None:
        now, pressed = self._clock.now(), self._keys.velocity() * self._scale
        if pressed.any():
            self._velocity, self._until = pressed, now + self._held_ns
        elif now >= self._until:
            self._velocity = np.zeros(4)
        if self._keys.turned:
            self._keys.turned, self._closed = False, not self._closed
        v = self._velocity
        return np.array([v[0], v[1], v[2], 0.0, 0.0, v[3], float(self._closed)])

    def close(self) -> None:
        """Does nothing."""


def connect(cfg: Config, ctx: Context) -> Keyboard:
    """The keyboard. Raises ConfigError where nobody listens to a terminal."""
    keys = ctx.worlds.get(KEYS)
    if keys is None:
        raise ConfigError("[input] of kind keyboard wants a terminal, found a run without one")
    return Keyboard(cfg, keys, ctx.clock)


class Taker(Protocol):
    """Takes keys one by one, maybe in another thread."""

    def take(self, key: str) -> None:
        """The key `key` was pressed."""


@contextmanager
def listening(keys: Taker, fd: int | None = None, who: str = "--patch") -> Iterator[None]:
    """Give `keys` what is typed on the terminal with the file descriptor `fd` (None: that of the
    standard input) while the block runs, key by key and without showing it; the terminal is as
    before afterwards, however the block ends. `who` is for messages. Raises ConfigError
    where there is no terminal."""
    fd = sys.stdin.fileno() if fd is None else fd
    if not os.isatty(fd):
        raise ConfigError(
            f"{who} reads single keys from a terminal, found none on the standard input: run it "
            "in one"
        )
    import termios
    import tty

    before = termios.tcgetattr(fd)
    ended, end = os.pipe()

    def read() -> None:
        while ended not in (ready := select.select([fd, ended], [], [])[0]):
            if ready and not _forward(keys, fd):
                return

    thread = threading.Thread(target=read, name="keys", daemon=True)
    tty.setcbreak(fd, termios.TCSANOW)  # Ctrl-C still interrupts
    try:
        thread.start()
        yield
    finally:
        os.close(end)  # which `ended` shows
        thread.join()
        os.close(ended)
        termios.tcsetattr(fd, termios.TCSANOW, before)


def _forward(keys: Taker, fd: int) -> bool:
    """Pass on what was typed. False where there will be no more."""
    try:
        typed = os.read(fd, 64)
    except OSError:  # the terminal is gone, or belongs to another process now
        return False
    for key in typed.decode(errors="replace"):
        keys.take(key)
    return bool(typed)
