"""A loop on devices that a test can break, with a spy on what reaches the arm."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from null_robot import HORIZON, null_table, tcp_actions

from headway import config
from headway.clock import NS, VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.loop import Loop
from headway.edge.control.runner import record_episode
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.policy.policy import InlineWorker, Needs
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of
from headway.types import Chunk

WHEN = 0.3  # into the episode [s]: things go wrong while the arm moves


class Policy:
    """Moves along the tool's axis at 5 cm/s; `then` replaces its answer from `when` on."""

    name = "test"
    cameras = ("wrist",)
    state_names = ("tcp.x", "gripper.width", "wrench.fz")
    actions = tcp_actions()
    needs = Needs()

    def __init__(self, then=None, when=WHEN):
        self.then, self.when, self.first_ns = then, when, None

    def check_instruction(self, text): ...

    def reset(self):
        self.first_ns = None

    def infer(self, obs):
        self.first_ns = obs.t_ns if self.first_ns is None else self.first_ns
        assert np.isfinite(obs.state).all()
        actions = np.zeros((HORIZON, 7), np.float32)
        actions[:, 2] = 0.005 * np.arange(1, HORIZON + 1)
        if self.then is not None and obs.t_ns - self.first_ns >= self.when * NS:
            actions = self.then(actions)
        return Chunk(obs.t_ns, NS // 10, actions, obs.base)


class Rig:
    """A loop on null devices, or on the simulated arm, with a spy on what reaches the arm."""

    def __init__(self, table, policy, latency_s=0.02):
        self.clock = VirtualClock(1)
        self.station = Station(config.decode(table, Settings, "test"), self.clock)
        self.arm = self.station.arm_device
        self.worker = policy and InlineWorker(policy, self.station.limb, latency_s)
        self.loop = Loop(self.station, self.worker, None)
        self.sent, self.calls = [], []
        command, stop = self.arm.command, self.arm.stop

        def spy_command(q, *, deadline_ns):
            self.sent.append(q.copy())
            self.calls.append("command")
            return command(q, deadline_ns=deadline_ns)

        def spy_stop(category=2):
            self.calls.append("stop")
            stop(category)

        self.arm.command, self.arm.stop = spy_command, spy_stop

    def after(self, seconds, device, name, replacement):
        """From `seconds` into the episode, `device.name()` is `replacement(usual)()`."""
        usual = getattr(device, name)

        def call(*args, **kwargs):
            begun = self.begun is not None and self.clock.now() - self.begun >= seconds * NS
            return replacement(usual)(*args, **kwargs) if begun else usual(*args, **kwargs)

        setattr(device, name, call)

    def at_tick(self, index, act):
        """`act()` is called once, when the arm has been sent `index` commands."""
        command, sent = self.arm.command, itertools.count()

        def call(q, *, deadline_ns):
            if next(sent) == index:
                act()
            return command(q, deadline_ns=deadline_ns)

        self.arm.command = call

    begun = episode = None

    def run(self, path, **kwargs):
        prepare = self.loop.prepare

        def noting(instruction, log):
            self.episode = prepare(instruction, log)
            self.begun = self.clock.now()
            return self.episode

        self.loop.prepare = noting
        with self.station:
            return record_episode(self.loop, 3, path, metadata={}, **kwargs)

    def check_arm(self):
        """Stopped at the end; every command finite and inside the limits from the first one on."""
        assert self.calls[-1] == "stop"
        q, dt, limits = np.array(self.sent), self.loop.dt, self.arm.limits
        assert np.isfinite(q).all()
        assert (q >= limits.q_min).all()
        assert (q <= limits.q_max).all()
        q = np.concatenate([q[:1]] * 3 + [q])
        for order, most in enumerate((limits.dq_max, limits.ddq_max, limits.dddq_max), start=1):
            assert (np.abs(np.diff(q, order, axis=0)) <= most * dt**order * (1 + 1e-6) + 1e-9).all()

    def check_came_to_rest(self):
        assert np.ptp(self.sent[-20:], axis=0).max() == 0.0
        assert np.ptp(self.sent, axis=0).max() > 1e-3  # ... after it had moved


def check_log(path, *texts, end=None):
    """The recording is whole, some line of its log says each of `texts`, and so does an event; its
    result says that it ended so."""
    recording = open_recording(path)
    assert not recording.truncated
    assert recording.end["end"] == "closed"
    lines = [f"{line.level}: {line.text}" for line in recording.logs("/log")]
    assert lines == [f"{e.level}: {e.text}" for e in events_of(recording)]
    for text in texts:
        assert any(text in line for line in lines), lines
    assert end is None or result_of(recording).end == end
    return recording


def sim_table():
    pytest.importorskip("mujoco")
    tool = {"mass": 1.225, "com": [0.0, 0.0, 0.04], "tcp": [0.0, 0.0, 0.165]}
    sim = {"kind": "sim"}
    return null_table(cell={"home": [0.42, -0.13, 0.4]}, arm=sim, ft=sim, gripper=sim, tool=tool)


TABLES = {"null": null_table, "sim": sim_table}


def played(table, path):
    """The recording, at `path`, of one episode in lock-step of the run that `table` describes."""
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        built = Built(station.settings, station, clock)
        try:
            record_episode(built.loop, 3, path, metadata={})
        finally:
            built.close()
    return open_recording(path)
