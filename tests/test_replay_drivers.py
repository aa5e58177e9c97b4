"""The kinds `replay` give back what was recorded when it is due, and say when there is no more."""

from pathlib import Path

import numpy as np
import pytest
from null_robot import null_table, run, toml

from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.latest import Latest
from headway.drivers.model import load
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import ConfigError, DeviceError, RecordingError, Stale
from headway.kernels import telemetry

UR5E = load("ur5e")

MS = 1_000_000
T0 = 5 * NS + 17  # the recorded clock began anywhere
N = 200
TOOL = np.array([0.0, 0.01, 0.185])
K = np.array([[80.0, 0, 8], [0, 80.0, 6], [0, 0, 1]])


class FakeWall(VirtualClock):
    """A wall clock for tests: what waits on it is said to have waited."""

    realtime = True


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """500 Hz telemetry and a camera at 50 Hz that begins 10 ms later: its path and its rows."""
    path = tmp_path_factory.mktemp("replay") / "run.mcap"
    rng = np.random.default_rng(2)
    rows = telemetry.empty(6, N)
    rows["t_ns"] = T0 + np.arange(N) * 2 * MS
    rows["q"] = np.array([0.1, -1.4, 1.6, -1.8, -1.5, 0.2]) + 0.1 * rng.normal(size=(N, 6))
    chain = UR5E.with_tool(TOOL.tolist()).chain
    for row in rows:
        pose = chain.pose(row["q"])
        row["tcp"] = np.concatenate([pose.pos, pose.quat])
    for name in ("dq", "q_ref", "twist", "wrench", "width", "width_ref", "grip_force"):
        rows[name] = rng.normal(size=rows[name].shape)
    rows["protective_stop"] = 0
    rows["protective_stop"][150:] = 1
    rows["q"][7] = np.nan
    rows["wrench"][8, 2] = np.inf
    channels = [
        Channel("/telemetry", dtype=rows.dtype),
        Channel("/camera/wrist/rgb", "image"),
        Channel("/camera/wrist/depth", "image"),
        Channel("/camera/wrist/calibration", "calibration"),
        Channel("/log", "log"),
        Channel("/empty", dtype=rows.dtype),
    ]
    with Recorder(path, channels, lossless=True) as log:
        log.log(0, "warning", "from before the first tick")
        log.calibration("/camera/wrist/calibration", T0, K, 12, 16)
        for i, row in enumerate(rows):
            t = int(row["t_ns"])
            log.write(0, t, row)
            if i % 10 == 5:
                log.image("/camera/wrist/rgb", t, np.full((12, 16, 3), i, np.uint8))
                if i != 25:
                    log.image("/camera/wrist/depth", t, np.full((12, 16), 1000 + i, np.uint16))
    return str(path), rows


def robot(path, clock):
    ctx = Context(clock)
    folders = ("arms", "ft", "grippers", "cameras")
    return [open_device(f, "replay", {"path": path}, ctx) for f in folders]


def test_lock_step_gives_every_row_and_image_when_it_is_due(recorded):
    path, rows = recorded
    clock = VirtualClock(start_ns=123)
    arm, ft, gripper, camera = robot(path, clock)
    for device in (arm, ft, gripper, camera):
        device.open(1.0)
        device.open(1.0)  # idempotent
    for i, row in enumerate(rows):
        clock.sleep_until(123 + i * 2 * MS)
        a, w, g = arm.read(0.0), ft.read(0.0), gripper.read(0.0)
        assert (a.stamp.t_ns, a.stamp.arrival_ns, a.stamp.seq) == (clock.now(), clock.now(), i + 1)
        assert a.stamp.device_ns == row["t_ns"]
        for name in ("q", "dq", "q_ref", "twist"):
            np.testing.assert_array_equal(getattr(a.value, name), row[name])
        np.testing.assert_array_equal(a.value.tcp.pos, row["tcp"][:3])
        np.testing.assert_array_equal(a.value.tcp.quat, row["tcp"][3:])
        assert a.value.tau_ext is None
        assert a.value.protective_stop == (i >= 150)
        assert (a.valid, a.flags) == ((True, ()) if i != 7 else (False, ("q not finite",)))
        np.testing.assert_array_equal(np.r_[w.value.force, w.value.torque], row["wrench"])
        assert w.valid == (i != 8)
        assert (g.value.width, g.value.width_ref) == (row["width"], row["width_ref"])
        assert (g.value.force, g.value.vacuum) == (row["grip_force"], None)
        if i < 5:
            with pytest.raises(Stale, match="begins later"):
                camera.read(0.0)
            continue
        frame, shown = camera.read(0.0), (i - 5) // 10 * 10 + 5
        assert frame.stamp.t_ns == 123 + shown * 2 * MS
        assert (frame.value.rgb == shown).all()
        assert (frame.value.intrinsics == K).all()
        if shown == 25:
            assert frame.value.depth is None
        else:
            assert (frame.value.depth == 1000 + shown).all()
    assert arm.health().received == N
    assert arm.health().invalid == 1
    assert arm.health().rate_hz == 500.0


def test_past_the_end_it_is_stale_and_opening_again_starts_over(recorded):
    path, rows = recorded
    clock = VirtualClock()
    arm, ft, _, camera = robot(path, clock)
    with pytest.raises(DeviceError, match="open it"):
        arm.read(0.0)
    for device in (arm, ft, camera):
        device.open(1.0)
    clock.sleep_until(N * 2 * MS)
    assert arm.read(0.0).stamp.seq == N  # within two periods of its end
    assert camera.read(0.0).stamp.seq == 20
    clock.sleep_until(NS)
    for device in (arm, ft, camera):
        with pytest.raises(Stale, match="has ended"):
            device.read(0.0)
    assert arm.health().state == "stale"
    for device in (arm, ft, camera):
        device.close()
        device.close()
    for device in (camera, ft, arm):
        device.open(1.0)
    again = arm.read(0.0)
    assert again.stamp.t_ns == NS
    assert (again.value.q == rows["q"][0]).all()
    clock.sleep_until(NS + 10 * MS)
    assert (camera.read(0.0).value.rgb == 5).all()


def test_in_real_time_read_waits_for_the_next_sample(recorded):
    path, rows = recorded
    clock = FakeWall()
    arm, _, _, camera = robot(path, clock)
    arm.open(1.0)
    camera.open(1.0)
    for i in range(20):
        sample = arm.read(1.0)
        assert sample.stamp.seq == i + 1
        assert clock.now() == i * 2 * MS
        np.testing.assert_array_equal(sample.value.q, rows["q"][i])
    clock.sleep_until(60 * MS)  # a slow consumer gets the newest, not the next
    assert arm.read(1.0).stamp.seq == 31
    assert camera.read(1.0).stamp.seq == 3
    with pytest.raises(Stale, match=r"within 0\.001 s"):
        camera.read(0.001)
    assert clock.now() == 61 * MS
    clock.sleep_until(398 * MS)
    assert arm.read(1.0).stamp.seq == N
    with pytest.raises(Stale, match="none due"):  # blocks, so that a reader thread does not spin
        arm.read(0.5)
    assert clock.now() == 898 * MS


def test_latest_reads_it_like_any_device(recorded):
    path, rows = recorded
    clock = VirtualClock()
    latest = Latest(robot(path, clock)[0], clock)
    latest.start()
    clock.sleep_until(100 * MS)
    assert (latest.latest(0).value.q == rows["q"][50]).all()
    clock.sleep_until(NS)
    with pytest.raises(Stale, match="ended"):
        latest.latest(10 * MS)
    latest.close()


def test_commands_are_checked_kept_and_move_nothing(recorded):
    path, rows = recorded
    arm, _, gripper, _ = robot(path, VirtualClock(5))
    arm.open(1.0)
    with pytest.raises(DeviceError, match="activate"):
        arm.command(np.zeros(6), deadline_ns=0)
    arm.activate()
    q = np.arange(6.0)
    sent = arm.command(q, deadline_ns=0)
    assert sent is arm.sent
    assert (sent.t_ns, sent.q.tolist()) == (5, q.tolist())
    assert (arm.read(0.0).value.q == rows["q"][0]).all()
    for wrong in (np.zeros(5), np.full(6, np.nan)):
        with pytest.raises(DeviceError, match="6 finite"):
            arm.command(wrong, deadline_ns=0)
    arm.stop(1)
    arm.stop(2)  # which activates nothing
    with pytest.raises(DeviceError, match="activate"):
        arm.command(q, deadline_ns=0)
    gripper.command(0.03, force=20.0)
    with pytest.raises(DeviceError, match="finite"):
        gripper.command(np.nan, force=20.0)


def test_the_arm_has_the_limits_of_its_model_and_the_tool_of_the_recording(recorded):
    arm = robot(recorded[0], VirtualClock())[0]
    assert arm.limits is UR5E.limits
    np.testing.assert_allclose(arm.chain.tool[9:], TOOL, atol=1e-12)


def test_values_given_out_do_not_alias_the_recording(recorded):
    path, rows = recorded
    arm = robot(path, VirtualClock())[0]
    arm.open(1.0)
    arm.read(0.0).value.q[:] = 0
    assert (arm.read(0.0).value.q == rows["q"][0]).all()


@pytest.mark.parametrize(
    ("folder", "table", "error", "says"),
    [
        ("ft", {"path": "none.mcap"}, RecordingError, "No such file"),
        ("ft", {"topic": "/odd"}, RecordingError, "'/odd'"),
        ("ft", {"topic": "/empty"}, ConfigError, "no rows"),
        ("ft", {"topic": "/camera/wrist/rgb"}, RecordingError, "another program"),
        ("ft", {"topik": "/x"}, ConfigError, "`topic`"),
        ("arms", {"model": "ur99"}, ConfigError, "ur5e"),
        ("cameras", {"name": "side"}, RecordingError, "/camera/side/rgb"),
    ],
)
def test_what_cannot_be_played_back_is_named(recorded, folder, table, error, says):
    ctx = Context(VirtualClock())
    with pytest.raises(error, match=says):
        open_device(folder, "replay", {"path": recorded[0]} | table, ctx)


def test_missing_columns_another_robot_and_an_empty_recording(tmp_path):
    rows = telemetry.empty(6, 2)
    rows["q"], rows["tcp"] = 0.3, 1.0
    rows["q"][1] = 0.6  # the TCP would have moved
    force = np.zeros(1, [("t_ns", "<i8"), ("force", "<f8", (3,))])
    seven = telemetry.empty(7, 1)
    channels = [
        Channel("/telemetry", dtype=rows.dtype),
        Channel("/force", dtype=force.dtype),
        Channel("/seven", dtype=seven.dtype),
    ]
    path = tmp_path / "a.mcap"
    with Recorder(path, channels, lossless=True) as log:
        for row in rows:
            log.write(0, 0, row)
        log.write(1, 0, force[0])
        log.write(2, 0, seven[0])
    ctx = Context(VirtualClock())
    with pytest.raises(ConfigError, match=r"wanted wrench on /force .* found t_ns, force"):
        open_device("ft", "replay", {"path": str(path), "topic": "/force"}, ctx)
    with pytest.raises(ConfigError, match="7 joints"):
        open_device("arms", "replay", {"path": str(path), "topic": "/seven"}, ctx)
    with pytest.raises(ConfigError, match="mm off"):
        open_device("arms", "replay", {"path": str(path)}, ctx)
    Recorder(tmp_path / "b.mcap", channels, lossless=True).close()
    with pytest.raises(RecordingError, match="wanted rows or images"):
        open_device("ft", "replay", {"path": str(tmp_path / "b.mcap")}, ctx)


@pytest.mark.parametrize("name", ["franka", "so101"])
def test_the_arm_is_the_robot_that_the_recording_names(tmp_path, name):
    """A run of a null arm, played back without saying which arm it was."""
    table = null_table(arm={"kind": "null", "model": name}, camera=[])
    table["task"]["limit_s"] = 0.3
    config = tmp_path / "run.toml"
    config.write_text("\n".join(f"{key} = {toml(value)}" for key, value in table.items()))
    assert run(config, tmp_path / "out", "--episodes", "1") == 0
    (path,) = (tmp_path / "out").glob("*.mcap")
    arm = open_device("arms", "replay", {"path": str(path)}, Context(VirtualClock()))
    assert arm.model.name == name
    np.testing.assert_allclose(arm.chain.tool, load(name).chain.tool, atol=1e-6)
    arm.open(1.0)
    np.testing.assert_allclose(arm.read(0.0).value.q, load(name).home, atol=1e-6)
    with pytest.raises(ConfigError, match=r"choose the model|joints, found model"):
        open_device("arms", "replay", {"path": str(path), "model": "ur10"}, Context(VirtualClock()))


def test_damage_is_named_at_once_and_in_the_middle_of_a_run(recorded, tmp_path):
    data = bytearray(Path(recorded[0]).read_bytes())
    path = tmp_path / "bad.mcap"
    path.write_bytes(data)
    clock = VirtualClock()
    camera = robot(str(path), clock)[3]
    camera.open(1.0)
    data[data.rindex(b"\x28\xb5\x2f\xfd") + 400] ^= 0xFF  # in the last zstd frame
    path.write_bytes(data)
    clock.sleep_until(100 * MS)
    for _ in range(2):
        with pytest.raises(DeviceError, match="found damage"):
            camera.read(0.0)
    assert camera.health().state == "fault"
    camera.close()
    with pytest.raises(RecordingError, match="found damage"):
        robot(str(path), VirtualClock())
