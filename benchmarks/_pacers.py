"""How others pace a control loop, with their own code where it is installed.

LeRobot 0.4.4: `record_loop` (lerobot/scripts/lerobot_record.py) takes the time before the work and
after it and gives what is left of 1/fps to `precise_sleep` (lerobot/utils/robot_utils.py), which on
Linux is `time.sleep`. The function is theirs; the few lines around it are written anew here, since
`record_loop` wants a robot and a dataset.

openpi-client 0.1.2: `openpi_client.runtime.runtime.Runtime` itself, with an environment and an
agent that do nothing. It sleeps what is left of 1/max_hz since the end of the sleep before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import Rate, WallClock
from headway.errors import Missing

# Without what they depend on, and no extra of ours: their wishes for numpy exclude each other, and
# of both this needs modules that import the standard library alone.
INSTALL = "pip install --no-deps lerobot==0.4.4 openpi-client==0.1.2"


class Begun:
    """When ticks began [ns] and which ones; preallocated."""

    def __init__(self, n: int) -> None:
        self._data: NDArray[np.int64] = np.zeros((2, n), np.int64)
        self._n = 0

    @property
    def full(self) -> bool:
        return bool(self._n >= self._data.shape[1])

    def note(self, index: int = -1) -> None:
        """A tick begins now. `index`: its number, -1: how many were noted before."""
        if not self.full:
            self._data[0, self._n] = time.monotonic_ns()
            self._data[1, self._n] = self._n if index < 0 else index
            self._n += 1

    @property
    def at(self) -> NDArray[np.int64]:
        return self._data[0, : self._n]

    @property
    def index(self) -> NDArray[np.int64]:
        return self._data[1, : self._n]


Pacer = Callable[[float, int], Begun]  # rate [Hz], ticks


def headway(hz: float, n: int) -> Begun:
    """`n` ticks of `headway.clock.Rate` at `hz` [Hz], on the clock that a run has."""
    return _absolute(hz, n, WallClock())


def sleeping(hz: float, n: int) -> Begun:
    """The same on a clock that only sleeps, as the loops of the others do."""
    return _absolute(hz, n, WallClock(spin_ns=0))


def _absolute(hz: float, n: int, clock: WallClock) -> Begun:
    begun = Begun(n)
    for tick in Rate(hz, clock):
        begun.note(tick.index)
        if tick.index >= n - 1:
            break
    return begun


def lerobot() -> Pacer:
    """Raises Missing."""
    try:
        from lerobot.utils.robot_utils import precise_sleep
    except ImportError as e:
        raise Missing(f"wanted lerobot, found none ({e}): {INSTALL}") from None

    def pace(fps: float, n: int) -> Begun:
        begun = Begun(n)
        while not begun.full:
            start = time.perf_counter()
            begun.note()
            spent = time.perf_counter() - start
            precise_sleep(max(1 / fps - spent, 0.0))
        return begun

    return pace


def openpi() -> Pacer:
    """Raises Missing."""
    try:
        from openpi_client.runtime.runtime import Runtime
    except ImportError as e:
        raise Missing(f"wanted openpi-client, found none ({e}): {INSTALL}") from None

    class Nothing:
        """Environment and agent."""

        def __init__(self, begun: Begun) -> None:
            self.begun = begun

        def reset(self) -> None: ...

        def get_observation(self) -> dict[str, Any]:
            self.begun.note()
            return {}

        def get_action(self, observation: dict[str, Any]) -> dict[str, Any]:
            return {}

        def apply_action(self, action: dict[str, Any]) -> None: ...

        def is_episode_complete(self) -> bool:
            return self.begun.full

    def pace(hz: float, n: int) -> Begun:
        begun = Begun(n)
        nothing = Nothing(begun)
        before = logging.root.manager.disable
        logging.disable(logging.INFO)  # it announces its episodes
        try:
            Runtime(nothing, nothing, [], max_hz=hz).run()
        finally:
            logging.disable(before)
        return begun

    return pace
