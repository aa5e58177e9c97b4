"""The Franka driver against franky-sim, a server of the FCI protocol in front of MuJoCo that nobody
of this project wrote. No robot was there."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.drivers.arms import franka
from headway.errors import ConfigError, DeviceError, Missing, Stale

SOON = 25.0  # a bound on waiting for the simulator [s]
HOST, NOBODY = "127.77.41.1", "127.77.41.2"
ROOT = Path(__file__).parent.parent
PEERS = (sys.executable, ROOT / ".venv-franka/bin/python", ROOT / ".venv-hil/bin/python")


@pytest.fixture(scope="module")
def franky():
    try:
        return franka.library()
    except Missing as e:
        pytest.skip(str(e))


def simulator():
    """A Python that has franky-sim."""
    for python in map(str, PEERS):
        if Path(python).exists():
            asked = subprocess.run([python, "-c", "import franky_sim, mujoco"], capture_output=True)
            if asked.returncode == 0:
                return python
    pytest.skip("wants franky-sim 1.0.4 in .venv-hil or .venv-franka")


@pytest.fixture(scope="module")
def server(franky, tmp_path_factory):
    where = tmp_path_factory.mktemp("franka")
    with subprocess.Popen(
        [simulator(), "-u", "-m", "franky_sim.run_server", "-s", "mujoco", "--hostname", HOST],
        cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if "Connect to the server" in line:
                    break
            else:
                pytest.fail(f"franky-sim did not start: {said[-5:]}")
            thread = threading.Thread(target=process.stdout.read, daemon=True)
            thread.start()
            yield process
        finally:
            process.kill()


def connected(host=HOST, **keys):
    table = {"host": host, "realtime": "ignore", "rate_hz": 250.0, **keys}
    return open_device("arms", "franka", table, Context(WallClock(0)))


@pytest.fixture(scope="module")
def arm(server):
    made = connected()
    made.open(SOON)
    yield made
    made.close()


def until(arm, good):
    """The first sample for which `good` holds."""
    end = arm.clock.now() + SOON * 1e9
    while arm.clock.now() < end:
        sample = arm.read(5.0)
        if good(sample.value):
            return sample
    raise AssertionError(f"not within {SOON} s; last: {sample.value}")


def still(state):
    """Of the first six joints: the simulated seventh, which is light, trembles when the machine is
    busy."""
    return np.abs(state.dq[:6]).max() < 0.02


def test_it_says_what_it_is_before_it_is_opened(franky):
    arm = connected()
    assert (arm.info.kind, arm.info.model, arm.info.uri) == ("franka", "Franka fr3", HOST)
    panda = connected(robot="panda")
    assert (arm.limits.q_min >= panda.limits.q_min).all()
    assert arm.limits.q_max[3] == -0.1518
    assert panda.limits.q_max[3] == pytest.approx(-0.0698)
    assert arm.chain.q_max == tuple(arm.limits.q_max)
    assert franka.remote_stop is None
    with pytest.raises(DeviceError, match="closed: open it before reading"):
        arm.read(0.0)
    with pytest.raises(DeviceError, match=r"open it before activate\(\)"):
        arm.activate()


def test_states_are_fresh_stamped_by_the_controller_and_agree_with_the_model(arm):
    first, second = arm.read(5.0), arm.read(5.0)
    assert second.stamp.device_ns > first.stamp.device_ns
    assert first.stamp.t_ns <= first.stamp.arrival_ns
    assert first.stamp.seq < second.stamp.seq
    state = second.value
    assert state.powered
    assert not state.protective_stop
    assert state.q.shape == state.dq.shape == state.q_ref.shape == state.tau_ext.shape == (7,)
    pose, _ = arm.chain.motion(state.q, state.dq)
    assert np.allclose(pose.pos, state.tcp.pos)
    assert arm.health().received >= 2


def test_it_obeys_after_activate_only_and_moves_to_the_newest_command(arm):
    q = arm.read(5.0).value.q
    with pytest.raises(DeviceError, match=r"wants activate\(\) before a command"):
        arm.command(q, deadline_ns=0)
    arm.activate()
    held = until(arm, still).value
    assert np.abs(held.q - q)[:6].max() < 0.02  # activate moves nothing
    goal = q.copy()
    for k in range(1, 21):
        goal = q + np.array([0.005 * k, 0, 0, 0, 0, 0, 0])
        sent = arm.command(goal, deadline_ns=0)
    assert np.array_equal(sent.q, goal)
    # The simulated servo does not quite reach its reference.
    reached = until(arm, lambda s: np.abs(s.q_ref - goal)[:6].max() < 1e-3 and still(s)).value
    assert abs(reached.q[0] - goal[0]) < 0.02
    assert abs(reached.q[0] - q[0]) > 0.05
    assert np.abs(reached.q[1:6] - q[1:6]).max() < 0.02


@pytest.mark.parametrize(
    "bad", [[np.nan] * 7, [np.inf] * 7, [0.0] * 6, [0, 0, 0, 0.5, 0, 1.5, 0], [100.0] * 7]
)
def test_a_command_that_is_not_finite_or_not_within_limits_is_refused(arm, bad):
    arm.activate()
    before = until(arm, still).value
    with pytest.raises(DeviceError, match="joint positions within its limits"):
        arm.command(np.array(bad, float), deadline_ns=0)
    for _ in range(5):
        assert np.abs(arm.read(5.0).value.q - before.q)[:6].max() < 0.01


@pytest.mark.parametrize("category", [0, 1, 2])
def test_a_stop_halts_the_arm_short_of_its_goal(arm, category):
    arm.activate()
    q = until(arm, still).value.q
    far = q.copy()
    far[0] += 1.0 if q[0] < 0 else -1.0
    arm.command(far, deadline_ns=0)
    until(arm, lambda s: abs(s.dq[0]) > 0.1)
    arm.stop(category)
    halted = until(arm, still).value
    assert abs(halted.q[0] - far[0]) > 0.2
    if category == 2:
        arm.command(halted.q, deadline_ns=0)
    else:
        with pytest.raises(DeviceError, match=r"wants activate\(\)"):
            arm.command(halted.q, deadline_ns=0)


class Described:
    """A robot that says of itself what an FR3 does: the controller takes one connection only."""

    model_urdf = '<robot name="fr3">' + "".join(
        f'<limit effort="87" lower="{low}" upper="{high}" velocity="2.6"/>'
        for low, high in (
            (-2.9007, 2.9007), (-1.8361, 1.8361), (-2.9007, 2.9007), (-3.077, -0.1169),
            (-2.8763, 2.8763), (0.4398, 4.6216), (-3.0508, 3.0508),
        )
    )  # fmt: skip


def test_another_robot_than_the_configured_one_is_refused(franky):
    connected().compare(Described)
    with pytest.raises(DeviceError, match=r"wanted a Franka panda at .*, found fr3: correct"):
        connected(robot="panda").compare(Described)

    class Short(Described):
        model_urdf = Described.model_urdf.replace("-1.8361", "-1.0")

    with pytest.raises(DeviceError, match=r"joint 2 to move from .*, found that .* from -1 to"):
        connected().compare(Short)


def test_no_robot_a_wrong_model_and_no_library(franky, monkeypatch):
    with socket.socket() as probe:
        assert probe.connect_ex((NOBODY, 1337)) != 0
    with pytest.raises(DeviceError, match=r"wanted the Franka fr3 at .*activate FCI in Desk"):
        connected(NOBODY).open(1.0)
    with pytest.raises(ConfigError, match="7 joints, found ur5e: 6"):
        connected(model="ur5e")
    monkeypatch.setitem(sys.modules, "franky", None)
    with pytest.raises(Missing, match=r"pip install 'headway\[franka\]'"):
        connected()


def failure(arm):
    """What `arm` says when reading it fails, None while it does not."""
    try:
        arm.read(1.0)
    except Stale:
        return None
    except DeviceError as e:
        return str(e)
    return None


def test_a_lost_controller_is_a_fault_and_wants_activate(server, arm):
    """The last test: the server is gone after it."""
    arm.activate()
    server.kill()
    while (error := failure(arm)) is None:
        pass
    assert "lost the Franka fr3" in error
    assert arm.health().state == "fault"
    with pytest.raises(DeviceError, match=r"activate\(\)"):
        arm.command(np.zeros(7), deadline_ns=0)
    arm.close()
