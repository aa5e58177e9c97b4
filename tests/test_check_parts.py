"""Parts of `headway check`: impossible normalisation, the budget, memory, and null devices in place
of the robot's."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec import structs
from null_robot import STATE, make_policy, null_table, tcp_actions

from headway import bundle, config
from headway.actions import ActionSpace
from headway.bundle import Image, StateInput
from headway.clock import NS, Tick, VirtualClock
from headway.drivers.model import load as robot_model
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.policy.policy import About, Needs, Ready
from headway.errors import ConfigError, PolicyError
from headway.tools.check import memory, ranges
from headway.tools.check.budget import (
    Measured,
    Stopwatch,
    TimedWorker,
    chunk_line,
    latency_lines,
    memory_line,
)
from headway.tools.check.described import describe
from headway.tools.check.lines import refused
from headway.tools.check.twins import Twins, on_twins

MODEL = robot_model("ur5e")
GUARD = config.decode(null_table(), Settings, "test").guard


def impossible(path, *, wrench_max=None, policy=None, **tensors):
    """What is said of a tiny policy whose tensors and section `policy` are changed."""
    made = bundle.load(make_policy(path, policy=policy, tensors=tensors))
    robot = ranges.Robot(MODEL.joints, MODEL.limits, 0.085, wrench_max, GUARD)
    return [str(e) for e in ranges.misfits(made, robot)]


def state(*names, **changes):
    return {"state": (StateInput(input="state", names=names, **changes),)}


def test_numbers_that_a_robot_can_have_are_possible(tmp_path):
    std = {"mean": (0.1, 0.3, 0.04, -2.0), "std": (0.2, 0.2, 0.04, 10.0)}
    assert impossible(tmp_path / "a", state=std) == []
    assert (
        impossible(tmp_path / "b", state={"low": (-1, 0, 0, -80), "high": (1, 1, 0.085, 80)}) == []
    )
    # what is given as it is, among numbers that are normalised
    assert impossible(tmp_path / "c", state={"mean": (0, 0.3, 0, 0), "std": (1, 0.2, 1, 9)}) == []


@pytest.mark.parametrize(
    ("names", "tensor", "says"),
    [
        (
            STATE,
            {"mean": (0, 0, 40.0, 0), "std": (1, 1, 20.0, 1)},
            "by mean 40 and std 20, outside",
        ),
        (
            STATE,
            {"mean": (0, 0, 0.04, 0), "std": (1, 1, 0.2, 1)},
            "a std of 0.0467 at most, all in m",
        ),
        (
            STATE,
            {"low": (-1, 0, 0, -800), "high": (1, 1, 0.085, 800)},
            "low -800 and high 800, more",
        ),
        (
            STATE,
            {"low": (500, 0, 0, -9), "high": (900, 1, 0.085, 9)},
            "-1 to 1 (the guard's workspace)",
        ),
        (
            ("q.elbow_joint", "dq.elbow_joint", "tau.elbow_joint", "pro.risk"),
            {"mean": (0, 90.0, 0, 0.5), "std": (1, 20.0, 50, 0.3)},
            "(the joint's speed limit)",
        ),
        (
            ("gripper.closed", "tcp.roll", "tcp.qw", "elapsed"),
            {"mean": (0.5, 0, 0.5, 90), "std": (0.3, 100.0, 0.5, 50)},
            "tcp.roll is normalised by mean 0",
        ),
    ],
)
def test_numbers_that_no_robot_of_this_kind_has(tmp_path, names, tensor, says):
    (said,) = impossible(tmp_path / "p", state=tensor, policy=state(*names))
    assert says in said
    assert said.endswith("or name a policy of this robot")


def test_the_range_of_the_sensor_comes_before_the_limit_of_the_guard(tmp_path):
    tensor = {"mean": (0, 0, 0.04, 0), "std": (1, 1, 0.02, 150.0)}
    assert "80 (the guard's limit)" in impossible(tmp_path / "a", state=tensor)[0]
    assert impossible(tmp_path / "b", state=tensor, wrench_max=(300.0, 30.0)) == []
    small = impossible(tmp_path / "c", state=tensor, wrench_max=(20.0, 1.0))
    assert "-20 to 20 (the F/T sensor's range)" in small[0]


def test_units_and_steps_are_taken_into_account(tmp_path):
    tensor = {"mean": (0, 300.0, 40.0, 0), "std": (1, 200.0, 30.0, 9)}
    units = state(*STATE, units=("", "mm", "mm", ""))
    assert impossible(tmp_path / "a", state=tensor, policy=units) == []
    assert len(impossible(tmp_path / "b", state=tensor)) == 2  # tcp.z and gripper.width


@pytest.mark.parametrize(
    ("mode", "scale", "says"),
    [
        ("absolute", 1.0, ""),
        ("absolute", 57.3, "allows a std of"),
        ("velocity", 3.0, ""),
        ("velocity", 30.0, "(the joint's speed limit)"),
        ("step", 0.3, ""),
        ("step", 3.0, "(what the joint moves in dt_s at its speed limit)"),
        ("chunk", 3.0, ""),
    ],
)
def test_actions_that_no_joint_follows(tmp_path, mode, scale, says):
    space = ActionSpace(
        names=(*MODEL.joints, "grip"), chunk=6, dt_s=0.1, space="joint", mode=mode, grip="width",
        scale=(scale, *[0.1] * 5, 0.04), offset=(0.0,) * 6 + (0.04,),
    )  # fmt: skip
    said = impossible(tmp_path / "p", policy={"actions": space})
    assert len(said) == bool(says)
    assert all(says in s and "action shoulder_pan_joint" in s for s in said)
    answers = {"low": (-scale, *[-0.1] * 5, -1.0), "high": (scale, *[0.1] * 5, 3.0)}
    plain = structs.replace(space, scale=None, offset=None)
    said = impossible(tmp_path / "q", policy={"actions": plain}, actions=answers)
    assert "action grip is normalised by low -1 and high 3, more than 3 times as wide" in said[-1]


def test_pixels_that_are_scaled_twice_or_never(tmp_path):
    image = Image(camera="wrist", input="rgb", height=16, width=16, mean=(0.485,), std=(0.229,))
    rgb = {"dtype": "float32"}
    made = bundle.load(make_policy(tmp_path / "fits"))
    robot = ranges.Robot(MODEL.joints, MODEL.limits, None, None, GUARD)
    assert list(ranges.misfits(made, robot)) == []
    for scale, count in ((1.0, 1), (1 / 255, 0)):
        tensor = structs.replace(made.manifest.inputs[0], **rgb)
        images = (structs.replace(image, scale=scale),)
        info = structs.replace(made.manifest.policy, images=images)
        manifest = structs.replace(
            made.manifest, policy=info, inputs=(tensor, *made.manifest.inputs[1:])
        )
        said = list(ranges.misfits(bundle.Bundle(made.path, manifest), robot))
        assert len(said) == count
        assert all("numbers up to 1111: set scale to 0.00392157" in str(s) for s in said)


def settings(**changes):
    return config.decode(null_table(**changes), Settings, "test")


ABOUT = About("tiny", (), (), tcp_actions(), Needs(rate_hz=10.0))


def verdicts(found, about=ABOUT, **changes):
    return {x.name: x.verdict for x in latency_lines(settings(**changes), about, found)}


def test_times_are_held_to_what_the_configuration_leaves():
    fine = Measured((0.0003,) * 99, 1, (0.02,) * 10, (0.03,) * 10, (0.5,))
    assert set(verdicts(fine).values()) == {"kept"}
    slow = {"tick of the loop": {"ticks_s": (0.003,)}, "inference": {"inference_s": (0.11,)}}
    slow["chunk outlasts"] = {"answer_s": (0.51,)}
    for name, changed in slow.items():
        found = verdicts(replace(fine, **changed))
        assert [n for n, v in found.items() if v == "not kept"] == [name]
    # the same time is enough for a loop, or a chunk, that leaves more
    assert (
        verdicts(replace(fine, ticks_s=(0.003,)), loop={"hz": 250.0})["tick of the loop"] == "kept"
    )
    long = structs.replace(ABOUT, actions=tcp_actions(7))
    assert verdicts(replace(fine, answer_s=(0.51,)), long)["chunk outlasts"] == "kept"


class Answers:
    """A worker that answers or fails, as `said` tells."""

    about, trouble = ABOUT, ""

    def __init__(self, *said):
        self._said = list(said)

    def take(self, now_ns):
        said = self._said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


def test_a_measurement_ends_in_time_and_waits_a_little_for_a_first_chunk():
    ready = Ready(None, None, submitted_ns=1, started_ns=2, done_ns=5)
    worker = TimedWorker(Answers(None, PolicyError("it broke"), ready))
    loop = SimpleNamespace(stop_requested=False)
    for end, last in ((2, 2), (None, 5)):
        loop.stop_requested = False
        watch = Stopwatch(loop, worker if end is None else None, 2.0, 3.0)
        for second in range(last + 1):
            assert not loop.stop_requested
            watch.stamps[-1] = 7
            watch.timing(second * NS + 1, Tick(missed=1))
        assert loop.stop_requested
        assert (watch.busy_ns, watch.missed) == ([7] * (last + 1), last + 1)
    assert worker.take(0) is None
    with pytest.raises(PolicyError):
        worker.take(0)
    assert worker.failed == "it broke"
    assert worker.take(0) is ready
    assert worker.inference_ns == [3]
    assert worker.answer_ns[0] > 0
    loop.stop_requested = False
    watch = Stopwatch(loop, worker, 2.0, 3.0)
    for second in (7, 8, 9):  # from the first tick on, whenever that is
        assert not loop.stop_requested
        watch.timing(second * NS, Tick())
    assert loop.stop_requested


def test_a_policy_that_never_answered_is_said():
    lines = latency_lines(settings(), ABOUT, Measured((0.001,), 0, failed="nod: it broke"))
    assert (lines[-1].name, lines[-1].verdict, lines[-1].found) == ("inference", "not kept", "nod")
    lines = latency_lines(settings(), None, Measured((0.001,), 0))
    assert lines[-1].verdict == "not applicable"


def test_without_a_measurement_the_configured_latency_counts():
    said = chunk_line(settings(policy={"bundle": "x", "latency_s": 0.55}), ABOUT, ())
    assert said.verdict == "not kept"
    assert "latency_s = 0.55 of [policy], not measured: the arm will stop" in said.found


def test_memory_that_is_there(tmp_path):
    assert memory.available(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4096 kB\n")
    assert memory.available(tmp_path) == 4 << 20
    (tmp_path / "proc/self/cgroup").write_text("0::/robot/run\n")
    outer = tmp_path / "sys/fs/cgroup/robot"
    for folder, most in ((outer, str(3 << 20)), (outer / "run", "max")):
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(most)
        (folder / "memory.current").write_text(str(2 << 20))
        (folder / "memory.stat").write_text("anon 5\ninactive_file 512\n")
    assert memory.available(tmp_path) == (1 << 20) + 512
    (tmp_path / "proc/7").mkdir()
    (tmp_path / "proc/7/status").write_text("Name: x\nVmHWM:\t 2048 kB\n")
    assert (memory.peak(7, tmp_path), memory.peak(8, tmp_path)) == (2 << 20, None)


def test_memory_that_is_wanted():
    assert memory_line(None, 1 << 40, 5).verdict == "kept"
    assert memory_line(None, 1000, 5).verdict == "not kept"
    assert memory_line(None, None, 5).verdict == "not applicable"


def test_a_refusal_is_told_apart_from_its_remedy():
    line = refused("run", "x", "", ConfigError("wanted a, found b: set c"))
    assert (line.found, line.then, line.remedy) == (
        "wanted a, found b", "set c", "wanted a, found b: set c"
    )  # fmt: skip
    assert refused("run", "x", "", ConfigError("b")).remedy == "b"


def test_null_devices_are_like_the_robots_own():
    """Of a UR, a vacuum cup and a UVC camera, none of which is there."""
    table = null_table(
        arm={"kind": "ur", "host": "192.0.2.1", "model": "ur10"},
        ft={"kind": "ur", "host": "192.0.2.1"},
        gripper={"kind": "vacuum_ur", "host": "192.0.2.1"},
        guard={**null_table()["guard"], "force_max": math.inf},
    )
    found = config.decode(table, Settings, "test")
    devices = describe(found)
    assert [x.verdict for x in devices.lines] == ["kept"] * 4
    clock = VirtualClock(1)
    with Station(on_twins(found, "go"), clock, Twins(devices, None, "go")) as station:
        assert station.model.name == "ur10"
        assert {s.source.info.kind for s in station.sources} == {"null"}
        assert station.stroke == devices.stroke
        np.testing.assert_array_equal(station.arm_device.limits.dq_max, devices.arm.limits.dq_max)
        assert station.reset(0) == "go"


def test_a_device_that_cannot_be_described_has_a_line():
    devices = describe(settings(camera=[{"kind": "rig", "name": "wrist"}]))
    (line,) = [x for x in devices.lines if x.verdict == "not kept"]
    assert (line.name, line.then) == ("camera wrist", "add one")
    devices = describe(settings(arm={"kind": "null", "model": "urx"}))
    assert devices.arm is None
