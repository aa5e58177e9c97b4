"""Policies for a process of their own: `ProcessWorker` opens them by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
from null_robot import tcp_actions

from headway.edge.policy.policy import Needs
from headway.errors import BundleError, Missing
from headway.types import Chunk

SENTENCES = ("go", "come")


class Scripted:
    """Says where it is; does what the instruction or the first number of the state asks for.

    State 1: never answers; 2: kills its process; 3: raises; 4: NaN; 5: a chunk too short; 6: out of
    memory; 7: answers when the pipe `gate` was written to; 8: raises with a very long text.
    """

    name, cameras, state_names = "scripted", ("wrist",), ("tcp.x", "gripper.width")
    actions = tcp_actions(4)
    detail, needs = "no engine", Needs()

    def __init__(self, gate: str = "", camera: bool = True) -> None:
        self.gate = Path(gate)
        self.inferred = 0
        if not camera:
            self.cameras = ()

    def check_instruction(self, text: str) -> None:
        if text not in SENTENCES:
            raise BundleError(f"was not taught {text!r}")

    def reset(self) -> None: ...

    def infer(self, obs):
        self.inferred += 1
        asked = int(obs.state[0])
        if asked == 1:
            signal.pause()
        elif asked == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        elif asked == 3:
            raise ValueError("a bug")
        elif asked == 8:
            raise ValueError("a bug, \N{FULL MOON SYMBOL}" * 10_000)
        elif asked == 6:
            raise MemoryError("no more")
        elif asked == 7:
            self.gate.with_suffix(".reached").touch()
            with self.gate.open("rb", buffering=0) as pipe:
                pipe.read(1)  # until somebody has written to it
        actions = np.zeros((4, 7), np.float32)
        actions[:, 2] = 0.001 * np.arange(1, 5)
        actions[:, 6] = self.inferred
        if self.cameras:
            actions[:, 5] = float(obs.images["wrist"].rgb.mean()) / 255
        if asked == 4:
            actions *= np.nan
        if asked == 5:
            actions = actions[:2]
        return Chunk(obs.t_ns, 100_000_000, actions, obs.base)


def missing() -> None:
    raise Missing("wanted the engine `abacus`: install beads")


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def changes(folder: str) -> Scripted:
    """Another policy each time: its chunk grows."""
    made = Scripted(camera=False)
    count = len(os.listdir(folder))
    (Path(folder) / str(count)).touch()
    made.name = f"scripted {count}"
    return made


def cold() -> Scripted:
    """Describes itself, then fails at its first inference."""

    class Cold(Scripted):
        def infer(self, obs):
            raise ValueError("not warm")

    return Cold()
