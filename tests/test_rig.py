"""The simulated cell behind a rig: memory that is shared, its process, its world and its camera."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from multiprocessing.connection import Listener
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headway.clock import VirtualClock, WallClock
from headway.drivers import Context
from headway.drivers.cameras import rig as rig_camera
from headway.drivers.rig import Answer, AskFrame, AskOutcome, RigLink, RigProcess, read_rig_file
from headway.drivers.worlds import rig
from headway.edge.control import settings
from headway.errors import ConfigError, DeviceError
from headway.hil import shared
from headway.hil.plant import PlantState, ServoConfig, ServoPlant
from headway.hil.rig import Rig
from headway.hil.shared import Commands, Memory, SharedPlant

N = 6


def state(i: float, n: int = N) -> PlantState:
    """A state all of whose numbers tell `i`."""
    row = np.full(n, float(i))
    return PlantState(
        int(i), row, row + 0.1, row + 0.2, row + 0.3, np.full(6, i + 0.4), i + 0.5, i + 0.6,
        i + 0.7, bool(i % 2), int(i),
    )  # fmt: skip


def assert_same(a: PlantState, b: PlantState) -> None:
    for field in PlantState.__slots__:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


def test_a_state_arrives_as_it_was_written(tmp_path):
    memory = Memory(tmp_path / "plant", N, 0.085)
    memory.publish(state(7))
    plant = SharedPlant(tmp_path / "plant")
    assert (plant.joints, plant.stroke) == (N, 0.085)
    assert_same(plant.state(), state(7))


def publish_until(path: Path, stop) -> None:
    """What the rig's process does, without a pause: publish states, one after another."""
    memory, i = Memory(path), 0
    while not stop.is_set():
        i += 1
        memory.publish(state(i))


def test_a_state_is_always_of_one_piece(tmp_path):
    # The writer is a process, as in a rig: a thread would give up the interpreter at the same place
    # each time, which may be in the middle of a state.
    path = tmp_path / "plant"
    Memory(path, N, 0.085).publish(state(0))
    context = multiprocessing.get_context("fork")
    plant, stop = SharedPlant(path), context.Event()
    writer = context.Process(target=publish_until, args=(path, stop), daemon=True)
    writer.start()
    try:
        while plant.state().t_ns == 0:
            assert writer.is_alive()
        for _ in range(2000):
            seen = plant.state()
            assert_same(seen, state(seen.t_ns))
    finally:
        stop.set()
        writer.join()
    assert writer.exitcode == 0


def test_of_several_commands_the_newest_is_taken_once(tmp_path):
    memory = Memory(tmp_path / "plant", N, 0.085)
    plant, commands = SharedPlant(tmp_path / "plant"), Commands(memory)
    assert commands.arm() is None
    plant.follow(np.arange(6.0))
    plant.follow(np.arange(6.0) + 1)
    kind, q = commands.arm()
    assert kind == shared.FOLLOW
    np.testing.assert_array_equal(q, np.arange(6.0) + 1)
    assert commands.arm() is None
    plant.hold()
    assert commands.arm()[0] == shared.HOLD
    plant.reset_protective_stop()
    assert commands.arm()[0] == shared.RESET
    plant.grip(0.02, force=30.0, speed=0.1)
    assert commands.jaws() == (0.02, 30.0, 0.1)
    plant.suck(True)
    assert commands.suction() is True
    assert commands.suction() is None


def test_what_is_no_memory_of_a_rig_is_refused(tmp_path):
    with pytest.raises(DeviceError, match="is the rig running"):
        SharedPlant(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"x" * 8192)
    for name in ("short", "other"):
        with pytest.raises(DeviceError, match="another file"):
            SharedPlant(tmp_path / name)


def test_a_writer_that_died_half_way_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "_DEAD_S", 0.0)
    memory = Memory(tmp_path / "plant", N, 0.085)
    memory.publish(state(1))
    memory.state.ints[0] += 1  # it died while it wrote
    with pytest.raises(DeviceError, match="half written"):
        SharedPlant(tmp_path / "plant").state()


def test_the_jaws_of_the_servo_plant_close_on_an_object_and_on_nothing(monkeypatch):
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    for width, ends in ((0.03, 0.03), (0.0, 0.0)):
        plant = ServoPlant(ServoConfig(object_m=width))
        plant.grip(0.0, force=25.0, speed=0.1)
        for _ in range(100):
            now[0] += 10_000_000
            plant.state()
        last = plant.state()
        assert last.width == pytest.approx(ends)
        assert last.force == (25.0 if width else 0.0)
        plant.grip(0.06, force=25.0, speed=0.1)
        now[0] += 2_000_000_000
        assert plant.state().width == pytest.approx(0.06)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "cell.rig.toml"
    path.write_text(
        f'folder = "{tmp_path / "rig"}"\n[cell]\nscene = "pick_place"\n'
        '[[cameras]]\nname = "wrist"\n'
    )
    return path


def test_a_rig_moves_by_its_commands_and_shows_images(file, tmp_path):
    ctx = Context(WallClock(spin_ns=0))
    world = rig.connect(rig.Config(str(file)), ctx)
    text = world.reset(5)
    assert "red" in text or "blue" in text or "green" in text
    assert world.outcome() is False
    plant = SharedPlant(tmp_path / "rig" / "plant")
    began = plant.state()
    goal = began.q + np.array([0.05, 0, 0, 0, 0, 0])
    until = time.monotonic() + 20
    while abs(plant.state().q[0] - goal[0]) > 0.01:
        plant.follow(goal)
        assert time.monotonic() < until
    generation = plant.state().generation
    world.reset(6)
    assert plant.state().generation == generation + 1
    camera = rig_camera.connect(rig_camera.Config("wrist"), ctx)
    camera.open(1.0)
    first, second = camera.read(1.0), camera.read(1.0)
    camera.close()
    assert first.value.rgb.shape == (96, 96, 3)
    assert first.value.rgb.std() > 5
    assert first.value.depth is not None
    assert second.stamp.seq == first.stamp.seq + 1
    assert second.stamp.t_ns > first.stamp.t_ns
    world.close()
    with pytest.raises(DeviceError, match="gone"):
        world.reset(7)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_encoders_behind_a_rig_are_as_noisy_as_the_cell_says(tmp_path, noise):
    path = tmp_path / "cell.rig.toml"
    path.write_text(f'folder = "{tmp_path}"\n[cell]\nscene = "empty"\njoint_noise = {noise}\n')
    made = Rig(read_rig_file(path), WallClock(spin_ns=0), tmp_path / "plant")
    plant, seen = SharedPlant(tmp_path / "plant"), []
    for _ in range(50):
        made.publish()
        seen.append(plant.state().q - made.cell.q)
    assert np.std(seen) == pytest.approx(noise, rel=0.2)


def test_a_far_reference_is_no_command_for_an_arm_that_was_put_home(file, tmp_path):
    process = RigProcess(file, 60.0)
    plant = SharedPlant(tmp_path / "rig" / "plant")
    before = plant.state()
    plant.follow(before.q + 2.0)
    until = time.monotonic() + 20
    while plant.state().t_ns < before.t_ns + 200_000_000:
        assert time.monotonic() < until
    assert np.abs(plant.state().q - before.q).max() < 0.05
    process.close()


def test_what_is_wrong_with_a_rig_is_said(file, tmp_path):
    with pytest.raises(ConfigError, match="--realtime"):
        rig.connect(rig.Config(str(file)), Context(VirtualClock()))
    file.write_text(f'folder = "{tmp_path}"\n[[emulators]]\nkind = "no_such_device"\n')
    with pytest.raises(DeviceError, match="no_such_device"):
        RigProcess(file, 60.0)
    file.write_text('folder = "x"\n[[emulators]]\nport = 3\n')
    with pytest.raises(ConfigError, match="kind"):
        read_rig_file(file)
    with pytest.raises(DeviceError, match="is it running"):
        RigLink(str(tmp_path / "nobody"))


@pytest.fixture
def other_end(tmp_path):
    """A link, and the rig's end of it."""
    with Listener(str(tmp_path / "rig.socket"), "AF_UNIX") as listener:
        link = RigLink(str(tmp_path / "rig.socket"))
        with listener.accept() as end:
            yield link, end
        link.close()


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(other_end):
    link, end = other_end
    with pytest.raises(DeviceError, match="within 0 s, found none"):
        link.ask(AskOutcome(), 0.0)
    with contextlib.suppress(OSError):  # the link hung up
        end.send_bytes(msgspec.msgpack.encode(Answer(done=True)))
    with pytest.raises(DeviceError, match="gone"):
        link.ask(AskOutcome(), 1.0)


def test_an_answer_of_another_kind_is_a_device_error(other_end):
    link, end = other_end
    end.send_bytes(b"\xc1")
    with pytest.raises(DeviceError, match="found something else"):
        link.ask(AskOutcome(), 1.0)


def test_a_camera_that_the_rig_lacks_is_said(file):
    process = RigProcess(file, 60.0)
    link = RigLink(process.address)
    with pytest.raises(DeviceError, match="did you mean"):
        link.ask(AskFrame("wirst"), 10.0)
    link.close()
    process.close()
    with pytest.raises(ConfigError, match="kind rig wants"):
        rig_camera.connect(rig_camera.Config("wrist"), Context(WallClock(spin_ns=0)))


def test_the_file_of_a_rig_is_found_beside_the_configuration(file, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        '[cell]\nkind = "rig"\nfile = "cell.rig.toml"\n[arm]\nkind = "null"\n'
        '[task]\nkind = "pick_place"\nsource = { centre = [0.45, -0.17], half = [0.15, 0.13] }\n'
        "target = { centre = [0.45, 0.20], half = [0.11, 0.11] }\n[guard]\nforce_max = 80.0\n"
        "torque_max = 15.0\nworkspace_min = [0.2, -0.45, 0.008]\n"
        "workspace_max = [0.75, 0.45, 0.6]\n"
    )
    assert settings.load(config).cell["file"] == str(file)
