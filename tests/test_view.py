"""`headway run --view`: what clients get while the loop runs, and what they cannot do to it."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from mcap.reader import make_reader
from null_robot import null_table, run
from view_client import Client

from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import Busy, ConfigError, DeviceError, Missing
from headway.mcapdiff import first_difference
from headway.mcaplog import open_recording
from headway.tools.run import command
from headway.tools.view.viewer import Viewer, ViewOptions

LIMITED = ("/telemetry", "/command", "/timing")  # 500 Hz in the file, 50 in the view
TOPICS = {
    *("/telemetry", "/command", "/event", "/log", "/result", "/tf", "/chunk", "/pro"),
    *("/camera/wrist/rgb", "/camera/wrist/depth", "/camera/wrist/calibration"),
}
FOXGLOVE = ViewOptions(foxglove=True, port=0)


@pytest.fixture
def watched(monkeypatch):
    """Clients of the next run: they connect before the first episode, and before each further one
    the server has heard all that they said."""
    clients, viewers = [], []
    usual = command.record_episode

    class Seen(Viewer):
        def __init__(self, options):
            super().__init__(options)
            viewers.append(self)
            clients[:] = [Client(self.url, p) for p in protocols]

    def between(*args, **kwargs):
        for client in clients:
            client.fence()
        return usual(*args, **kwargs)

    protocols = ["foxglove.sdk.v1"]
    monkeypatch.setattr(command, "Viewer", Seen)
    monkeypatch.setattr(command, "record_episode", between)
    yield protocols, clients, viewers
    for client in clients:
        client.close()


def in_file(path):
    """topic -> [(t_ns, bytes)] as MCAP's own reader sees it."""
    out = {}
    with open(path, "rb") as f:
        for _, channel, message in make_reader(f).iter_messages():
            out.setdefault(channel.topic, []).append((message.log_time, message.data))
    return out


def lost(report):
    return sum(int(n) for n in re.findall(r"(\d+) dropped", report))


def test_every_client_of_a_lock_step_run_gets_the_recorded_bytes(
    write, both, tmp_path, watched, capsys
):
    protocols, clients, viewers = watched
    protocols.append("foxglove.websocket.v1")
    path = write(**both)
    assert run(path, tmp_path / "alone", "--episodes", 2, "--seed", 4) == 0
    view = ("--view", "--view-port", 0)
    assert run(path, tmp_path / "viewed", "--episodes", 2, "--seed", 4, *view) == 0
    assert f"view {viewers[0].url} - in Foxglove" in capsys.readouterr().out
    files = [in_file(tmp_path / "viewed" / f"episode_{seed}.mcap") for seed in (4, 5)]
    assert [c.protocol for c in clients] == protocols
    missing = 0
    for client in clients:
        client.join(60)
        assert client.code == 1001
        assert {c["topic"] for c in client.channels.values()} == set(files[1]) == TOPICS
        assert client.unadvertised == []  # the second episode's channels are the first one's
        # In lock-step the time of each episode begins anew.
        (first,) = client.earlier
        for topic, recorded in files[1].items():
            got = client.messages[topic]
            assert set(got) <= set(recorded), topic
            assert got == sorted(got, key=lambda m: m[0])
            want = -(-len(recorded) // 10) if topic in LIMITED else len(recorded)
            missing += want - len(got)
            assert len(got) <= want
        assert set(first["/tf"]) <= set(files[0]["/tf"])
        assert client.times == sorted(client.times)
        assert client.times[-1] >= max(t for t, _ in client.messages["/telemetry"])
    assert missing <= lost(viewers[0].report)  # zero on a machine that is awake
    assert "2 clients" in viewers[0].report
    a, _ = clients
    assert a.decoded["/camera/wrist/rgb"][-1].encoding == "rgb8"
    assert a.decoded["/camera/wrist/calibration"][-1].width == 16
    assert a.decoded["/result"][-1]["end"] == "time limit"
    pro = open_recording(tmp_path / "viewed" / "episode_5.mcap").rows("/pro")
    assert np.isin([m.risk for m in a.decoded["/pro"][-20:]], pro["risk"]).all()
    for seed in (4, 5):
        name = f"episode_{seed}.mcap"
        assert first_difference(tmp_path / "viewed" / name, tmp_path / "alone" / name) == ""


def test_a_run_in_real_time_is_seen_with_its_timing(write, both, tmp_path, watched):
    _, clients, _ = watched
    loop = {"tare_s": 0.01, "max_age_s": 5.0, "camera_max_age_s": 5.0}
    path = write(task=null_table()["task"] | {"limit_s": 0.25}, loop=loop, **both)
    view = ("--view", "--view-port", 0, "--view-hz", 10000)
    assert run(path, tmp_path / "out", "--episodes", 2, "--realtime", *view) == 0
    clients[0].join(60)
    recorded = in_file(tmp_path / "out" / "episode_1.mcap")
    assert {c["topic"] for c in clients[0].channels.values()} == TOPICS | {"/timing"}
    for topic in ("/telemetry", "/timing", "/pro", "/command"):
        begin = recorded[topic][0][0]
        got = [m for m in clients[0].messages[topic] if m[0] >= begin]
        assert got
        assert set(got) <= set(recorded[topic])


def test_a_busy_port_is_said_before_anything_moves(write, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = run(write(), tmp_path / "out", "--view", "--view-port", port)
    assert code == Busy.exit_code
    said = capsys.readouterr().err
    assert f"wanted to serve the view at 127.0.0.1:{port}, found another program there" in said
    assert "--view-port" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"foxglove": True, "host": "192.0.2.1"}, ConfigError, "192.0.2.1.*another --view-host"),
        ({"foxglove": True, "port": 70000}, ConfigError, "--view-port from 0 to 65535"),
        ({"foxglove": True, "hz": 0.0}, ConfigError, "--view-hz above 0"),
        ({"rerun": True, "rerun_connect": "x"}, ConfigError, "one of --rerun, --rerun-connect"),
    ],
)
def test_options_that_do_not_fit_are_said(options, kind, message):
    with pytest.raises(kind, match=message):
        Viewer(ViewOptions(**{"port": 0} | options))


def test_without_the_package_rerun_the_run_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"pip install 'headway\[rerun\]'"):
        Viewer(ViewOptions(rerun=True))


def test_opening_the_view_to_the_network_is_said_aloud(write, tmp_path, capsys):
    options = ("--view", "--view-port", 0, "--view-host")
    assert run(write(), tmp_path / "a", "--episodes", 1, *options, "0.0.0.0") == 0
    said = capsys.readouterr().out
    assert "view ws://0.0.0.0:" in said
    assert "--view-host 0.0.0.0: everybody who reaches this machine sees the cameras" in said
    assert run(write(), tmp_path / "b", "--episodes", 1, *options, "127.0.0.1") == 0
    assert "everybody" not in capsys.readouterr().out


ROW = np.dtype([("t_ns", "<i8"), ("x", "<f8", (120,))])
CHANNELS = [Channel("/x", dtype=ROW)]


def record(path, view, middle=lambda: None):
    """1000 rows, and `middle()` after half of them. The file's bytes."""
    rows = np.zeros(1000, ROW)
    rows["x"] = np.random.default_rng(3).normal(size=(1000, 120))
    with Recorder(path, CHANNELS, lossless=True, view=view) as log:
        for i, row in enumerate(rows):
            log.write(0, i * 2_000_000, row)
            if i == 500:
                log.flush()
                middle()
    assert log.acknowledged == log.written == 1000
    return path.read_bytes()


def ended(pid):
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(60_000))
    finally:
        os.close(fd)


def test_a_viewer_that_stands_still_or_dies_costs_only_the_view(tmp_path):
    want = record(tmp_path / "alone.mcap", None)
    with Viewer(FOXGLOVE) as viewer:
        os.kill(viewer.pid, signal.SIGSTOP)
        assert record(tmp_path / "stopped.mcap", viewer.feed) == want
        os.kill(viewer.pid, signal.SIGCONT)

        def kill():
            os.kill(viewer.pid, signal.SIGKILL)
            assert ended(viewer.pid)

        assert record(tmp_path / "killed.mcap", viewer.feed, kill) == want
        assert viewer.feed() is None
        assert record(tmp_path / "after.mcap", viewer.feed) == want
    assert viewer.report == (
        "the viewer process ended early (code -9); the recordings are not affected"
    )


def test_ctrl_c_does_not_end_the_view_and_its_end_is_reported(tmp_path):
    with Viewer(FOXGLOVE) as viewer:
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(viewer.pid, s)
        record(tmp_path / "a.mcap", viewer.feed)
    assert viewer.report.startswith("view: 100 messages, 0 dropped before the view; 0 clients")
    viewer.close()  # idempotent


def test_the_viewer_ends_with_the_process_of_the_run():
    code = """
        import os, sys
        from headway.tools.view.viewer import Viewer, ViewOptions
        viewer = Viewer(ViewOptions(foxglove=True, port=0))
        print(viewer.pid, flush=True)
        sys.stdin.read()
    """
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        pid = int(process.stdout.readline())
        fd = os.pidfd_open(pid)
        process.kill()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(60_000)
        os.close(fd)


def test_a_viewer_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DeviceError, match="wanted a viewer process, it ended with code 1"):
        Viewer(FOXGLOVE)
