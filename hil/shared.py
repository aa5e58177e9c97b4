"""The simulated cell of another process as a plant, through memory that both map.

The rig (`headway.hil.rig`) steps the physics and writes the state, each emulator reads it when its
device would measure. In the other direction there is one place per kind of command, with one
writer each. A counter before and after tells a reader that what it has read is of one piece: it is
odd while the writer writes. Fences keep the counter and the numbers in order on CPUs that reorder
loads and stores.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headway.config import Struct
from headway.edge.recording.fence import fence_of
from headway.errors import DeviceError
from headway.hil.plant import PlantState
from headway.types import Vec

_MAGIC = 0x48574C50414E5431
FOLLOW, HOLD, RESET = 1, 2, 3  # kinds of a command to the arm
_DEAD_S = 1.0  # a write takes microseconds, and a writer that has to wait for a core some ms


class Block:
    """`ints` and `floats` numbers at `offset` of `memory`, with their counter, written by one
    process."""

    def __init__(self, memory: mmap.mmap, offset: int, ints: int, floats: int) -> None:
        self.ints = np.frombuffer(memory, np.int64, 1 + ints, offset)
        self.floats = np.frombuffer(memory, np.float64, floats, offset + 8 * (1 + ints))
        self.end = offset + 8 * (1 + ints + floats)
        self._fence = fence_of()

    @property
    def count(self) -> int:
        """How often it was written, twice."""
        return int(self.ints[0])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around a change of the numbers, by the only writer."""
        self.ints[0] += 1
        self._fence()
        yield
        self._fence()
        self.ints[0] += 1

    def read(self) -> tuple[list[int], Vec]:
        """Copies of the numbers, of one piece. Raises DeviceError where the writer died in the
        middle."""
        until = time.monotonic() + _DEAD_S
        while True:
            before = self.count
            self._fence()
            found = self.ints[1:].tolist(), self.floats.copy()
            self._fence()
            if before % 2 == 0 and before == self.count:
                return found
            if time.monotonic() > until:
                break
            time.sleep(1e-5)
        raise DeviceError(
            "the rig's state stands half written: its process has died; start it anew"
        )


class Memory:
    """The shared file `path`: `state`, and the commands `arm`, `jaws` and `suction`. With `joints`
    and `stroke` [m] it is made, else it is opened. Raises DeviceError for a file that is none."""

    def __init__(self, path: Path, joints: int | None = None, stroke: float = 0.0) -> None:
        flags = os.O_RDWR if joints is None else os.O_RDWR | os.O_CREAT | os.O_TRUNC
        try:
            fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise DeviceError(
                f"wanted the rig's memory at {path}, found {e.strerror}: is the rig running?"
            ) from None
        try:
            if joints is not None:
                os.ftruncate(fd, mmap.PAGESIZE)
            elif os.fstat(fd).st_size < mmap.PAGESIZE:
                raise DeviceError(f"wanted the rig's memory at {path}, found another file")
            self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        head = Block(self._memory, 0, 2, 1)
        if joints is not None:
            head.ints[1:] = _MAGIC, joints
            head.floats[0] = stroke
        elif head.ints[1] != _MAGIC:
            raise DeviceError(f"wanted the rig's memory at {path}, found another file")
        self.joints, self.stroke = int(head.ints[2]), float(head.floats[0])
        n = self.joints
        self.state = Block(self._memory, head.end, 3, 4 * n + 9)
        self.arm = Block(self._memory, self.state.end, 1, n)
        self.jaws = Block(self._memory, self.arm.end, 0, 3)
        self.suction = Block(self._memory, self.jaws.end, 1, 0)

    def publish(self, s: PlantState) -> None:
        """Write the state `s`."""
        floats = np.concatenate(
            [s.q, s.dq, s.q_ref, s.tau, s.wrench, (s.width, s.force, s.vacuum)]
        )  # made before the state is odd, which keeps readers waiting
        with self.state.writing():
            self.state.ints[1:] = s.t_ns, s.protective_stop, s.generation
            self.state.floats[:] = floats


class SharedConfig(Struct, frozen=True):
    """A plant in another process, behind the shared file `path`."""

    path: str


class SharedPlant:
    """The plant behind the shared file `path`."""

    def __init__(self, path: Path) -> None:
        self._memory = Memory(path)
        self.joints, self.stroke = self._memory.joints, self._memory.stroke

    def state(self) -> PlantState:
        (t_ns, stopped, generation), x = self._memory.state.read()
        n = self.joints
        q, dq, q_ref, tau, wrench, rest = np.split(x, [n, 2 * n, 3 * n, 4 * n, 4 * n + 6])
        width, force, vacuum = rest.tolist()
        return PlantState(
            t_ns, q, dq, q_ref, tau, wrench, width, force, vacuum, bool(stopped), generation
        )

    def follow(self, q: Vec) -> None:
        self._arm(FOLLOW, q)

    def hold(self) -> None:
        self._arm(HOLD)

    def reset_protective_stop(self) -> None:
        self._arm(RESET)

    def _arm(self, kind: int, q: Vec | None = None) -> None:
        block = self._memory.arm
        with block.writing():
            block.ints[1] = kind
            if q is not None:
                block.floats[:] = q

    def grip(self, width: float, *, force: float, speed: float) -> None:
        with self._memory.jaws.writing():
            self._memory.jaws.floats[:] = width, force, speed

    def suck(self, on: bool) -> None:
        with self._memory.suction.writing():
            self._memory.suction.ints[1] = on

    def close(self) -> None:
        """Nothing: the mapping ends with the process."""


class Commands:
    """The rig's end of the commands in `memory`: each is given once, the newest only."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._seen = [b.count for b in (memory.arm, memory.jaws, memory.suction)]

    def arm(self) -> tuple[int, Vec] | None:
        """Kind and joints (n,) [rad] of a new command to the arm, None where there is none."""
        found = self._new(0, self._memory.arm)
        return None if found is None else (found[0][0], found[1])

    def jaws(self) -> tuple[float, float, float] | None:
        """Width [m], force [N] and speed [m/s] of a new command to the jaws."""
        found = self._new(1, self._memory.jaws)
        if found is None:
            return None
        width, force, speed = found[1].tolist()
        return width, force, speed

    def suction(self) -> bool | None:
        """Whether the vacuum is to be on, by a new command."""
        found = self._new(2, self._memory.suction)
        return None if found is None else bool(found[0][0])

    def _new(self, i: int, block: Block) -> tuple[list[int], Vec] | None:
        count = block.count
        if count == self._seen[i] or count % 2:
            return None
        found = block.read()
        self._seen[i] = count
        return found
