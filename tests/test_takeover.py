"""`headway run --patch`: a person at the keyboard corrects the policy."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_policy import observation
from loop_rig import Policy, Rig
from msgspec import structs
from null_robot import HORIZON, null_table, tcp_actions

from headway.__main__ import main
from headway.actions import ActionSpace
from headway.clock import NS
from headway.drivers.inputs.keyboard import MOVES, SPEED, Keys, listening
from headway.drivers.rotations import mat_to_rotvec, quat_to_mat, rotvec_to_mat
from headway.edge.control.events import EventKind
from headway.edge.motion.actions import tcp_path
from headway.errors import ConfigError
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of
from headway.tools.run.takeover import Takeover
from headway.types import Chunk, Observation, Pose

DOWN = Pose(np.array([0.4, -0.1, 0.3]), np.array([0.0, 0.8, 0.6, 0.0]))  # a turned tool, downwards
PERIOD = NS // 5  # between decisions [ns]


class Wall:
    """A wall clock that goes on only while somebody waits."""

    def __init__(self) -> None:
        self.t, self.waits = 100.0, []

    def now(self) -> float:
        return self.t

    def pause(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.t += seconds


class Down(Policy):
    """Closes the jaws on its way down."""

    def infer(self, obs: Observation) -> Chunk:
        chunk = super().infer(obs)
        chunk.actions[:, 6] = 1.0
        return structs.replace(chunk, meta={"score": 2.0})


def taken(space: ActionSpace | None = None) -> tuple[Takeover, Keys, Wall]:
    policy, keys, wall = Down(), Keys(), Wall()
    if space is not None:
        policy.actions = space
    made = Takeover(policy, keys, now=wall.now, pause=wall.pause)
    made.reset()
    return made, keys, wall


def seen(k: int) -> Observation:
    """At the decision `k`."""
    return observation(t_ns=k * PERIOD, base=DOWN, state=np.zeros(3, np.float32))


def poses(chunk: Chunk, space: ActionSpace) -> tuple[Any, Any]:
    """Positions (h, 3) and rotations (h, 3, 3) of the TCP that `chunk` leads through."""
    path = tcp_path(np.asarray(chunk.actions, np.float64), space, chunk.base, space.dt_s)
    p = path.p + path.rows[:, :3] @ path.R.T
    return p, [path.R @ rotvec_to_mat(r) for r in path.rows[:, 3:6]]


def test_the_policy_steers_until_somebody_takes_over_and_again_afterwards() -> None:
    made, keys, _ = taken()
    sources = []
    for k, typed in enumerate(("", " ", "", " ", "w")):
        for key in typed:
            keys.take(key)
        chunk = made.infer(seen(k))
        sources.append(chunk.meta["source"])
        assert chunk.meta["demonstration"] == chunk.meta["source"]  # only corrections are imitated
        own = chunk.actions[-1, 2] == np.float32(0.005 * HORIZON)
        assert own == (chunk.meta["source"] == 0.0)
        assert ("score" in chunk.meta) == own
    assert sources == [0.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("key", MOVES)
def test_a_key_moves_along_an_axis_of_the_base_until_the_next_decision(key: str) -> None:
    made, keys, _ = taken()
    made.infer(seen(0))
    for k in (" ", key):
        keys.take(k)
    chunk = made.infer(seen(1))
    p, R = poses(chunk, made.actions)
    axis, sign = MOVES[key]
    t = np.minimum(0.1 * np.arange(1, HORIZON + 1), PERIOD / NS)
    wanted = np.zeros((HORIZON, 3))
    turn = np.zeros((HORIZON, 3))
    (wanted if axis < 3 else turn)[:, axis % 3 if axis < 3 else 2] = sign * SPEED[axis] * t
    np.testing.assert_allclose(p - DOWN.pos, wanted, atol=1e-6)
    start = quat_to_mat(DOWN.quat)
    np.testing.assert_allclose([mat_to_rotvec(r @ start.T) for r in R], turn, atol=1e-6)
    still = made.infer(seen(2))  # the key was pressed once
    np.testing.assert_allclose(poses(still, made.actions)[0] - DOWN.pos, 0.0, atol=1e-9)


def test_keys_add_up_and_mean_nothing_to_the_policy() -> None:
    made, keys, _ = taken()
    for key in "wad!":
        keys.take(key)
    assert made.infer(seen(0)).meta["source"] == 0.0
    keys.take(" ")
    p, _ = poses(made.infer(seen(1)), made.actions)
    np.testing.assert_allclose(p, np.tile(DOWN.pos, (HORIZON, 1)), atol=1e-9)
    for key in "wwasr":
        keys.take(key)
    p, _ = poses(made.infer(seen(2)), made.actions)
    way = p[-1] - DOWN.pos
    np.testing.assert_allclose(way, [0.0, 0.012, 0.012], atol=1e-6)  # w and s cancel out


def test_the_jaws_stay_as_they_are_until_they_are_told_otherwise() -> None:
    made, keys, _ = taken()
    made.infer(seen(0))  # closes them
    found = []
    for k, typed in enumerate((" ", "", "g", "", "g", "gg"), start=1):
        for key in typed:
            keys.take(key)
        found.append(float(made.infer(seen(k)).actions[0, 6]))
    assert found == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    made.reset()
    keys.take(" ")
    assert made.infer(seen(9)).actions[0, 6] == 0.0


def test_the_run_keeps_the_pace_of_the_wall_clock() -> None:
    made, _, wall = taken()
    for k in range(3):
        made.infer(seen(k))
    assert wall.waits == [0.2, 0.2]
    wall.t += 0.15  # a slow view
    made.infer(seen(3))
    assert wall.waits[2:] == [0.05]
    wall.t += 3.0  # the computer slept: nothing is made up for
    made.infer(seen(4))
    made.infer(seen(5))
    assert wall.waits[3:] == [0.2]


@pytest.mark.parametrize("mode", ["absolute", "step", "velocity"])
def test_every_kind_of_tcp_action_is_patched(mode: Any) -> None:
    space = tcp_actions(mode=mode, axes="base")
    made, keys, _ = taken(space)
    made.infer(seen(0))
    for key in " w":
        keys.take(key)
    rows = np.asarray(made.infer(seen(1)).actions, np.float64)
    x = {"absolute": rows[-1, 0] - DOWN.pos[0], "step": rows[:, 0].sum()}.get(mode)
    np.testing.assert_allclose(0.1 * rows[:, 0].sum() if x is None else x, 0.012, atol=1e-6)


def test_joint_actions_are_refused() -> None:
    names = ("a", "b", "grip")
    for space in (
        ActionSpace(names=names, chunk=2, dt_s=0.1, space="joint", mode="absolute"),
        ActionSpace(names=("x", "y", "z", "rx", "ry", "rz"), chunk=2, dt_s=0.1),
    ):
        with pytest.raises(ConfigError, match="--patch moves the TCP and the jaws, policy test"):
            taken(space)


def test_a_recording_says_who_steered(tmp_path: Path) -> None:
    keys, wall = Keys(), Wall()
    policy = Takeover(Policy(), keys, now=wall.now, pause=wall.pause)
    rig = Rig(null_table(), policy)
    for tick, key in ((200, " "), (210, "s"), (450, " ")):
        rig.at_tick(tick, lambda key=key: keys.take(key))
    assert rig.run(tmp_path / "e.mcap").end == "time limit"
    rig.check_arm()
    recording = open_recording(tmp_path / "e.mcap")
    chunks = recording.rows("/chunk")
    assert set(chunks["source"]) == {0.0, 1.0}
    np.testing.assert_array_equal(chunks["demonstration"], chunks["source"])
    said = [e.subject for e in events_of(recording) if e.kind is EventKind.TAKEOVER]
    assert said == ["correction", "policy"]


def test_keys_come_from_a_terminal(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    said: list[str] = []
    keys = Keys(said.append)
    with listening(keys, theirs):
        os.write(ours, b" g")
        end = time.monotonic() + 20
        while not keys.turned and time.monotonic() < end:  # a bound on waiting for a thread
            os.sched_yield()
        assert keys.steering
        assert keys.turned
    assert said == ["patch: you steer"]
    os.close(ours)
    os.close(theirs)
    with (
        (tmp_path / "f").open("w") as file,
        pytest.raises(ConfigError, match="reads single keys from a terminal"),
        listening(keys, file.fileno()),
    ):
        pass


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--realtime",), "without --realtime, since it keeps the wall clock's pace"),
        (("--operator",), "without --operator, since it reads the keyboard"),
        ((), "takes over from a policy in the simulated cell"),
    ],
)
def test_a_run_that_cannot_be_patched(
    args: Any, said: str, write: Any, both: Any, tmp_path: Path, capsys: Any
) -> None:
    path = write(**both)
    out = str(tmp_path / "out")
    assert main(["run", "--config", str(path), "--out", out, "--patch", *args]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
