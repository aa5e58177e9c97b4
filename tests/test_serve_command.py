"""`headway serve` and `headway run --policy`, from the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from flow_rig import flow_policy
from msgspec import structs
from null_robot import HORIZON, SENTENCES, make_policy, null_table, run, tcp_actions
from remote_rig import BASE, WAIT

from headway import bundle
from headway.__main__ import main
from headway.edge.engines.engine import open_bundle
from headway.edge.policy.kinds.bundle import BundlePolicy
from headway.edge.policy.remote.client import RemotePolicy
from headway.edge.policy.remote.layout import of_bundle
from headway.edge.policy.remote.server import PolicyServer
from headway.mcaplog import open_recording
from headway.tools import serve as serve_module
from headway.tools.serve import is_loopback, serve_command
from headway.types import Frame, Observation


@contextmanager
def serving_bundle(path):
    """The policy in the folder `path`, served; its `.url`."""
    made = bundle.load(path)
    policy = BundlePolicy(made, open_bundle(made))
    with PolicyServer(policy, of_bundle(made.manifest), port=0) as server:
        server.url = f"ws://127.0.0.1:{server.port}"
        yield server


@pytest.fixture
def served(bundles):
    """The tiny policy, served."""
    with serving_bundle(bundles / "policy") as server:
        yield server


CHANNELS = ("/telemetry", "/pro", "/chunk")


def test_a_run_with_a_server_is_the_run_with_its_bundle(write, both, served, tmp_path, capsys):
    path = write(**both)
    assert run(path, tmp_path / "here", "--episodes", 2) == 0
    assert run(path, tmp_path / "there", "--episodes", 2, "--policy", served.url,
               "--require", "remote") == 0  # fmt: skip
    assert f"policy tiny on remote ({served.url})" in capsys.readouterr().out
    for i in range(2):
        here, there = (
            open_recording(tmp_path / n / f"episode_{i}.mcap") for n in ("here", "there")
        )
        for channel in CHANNELS:
            a, b = here.rows(channel), there.rows(channel)
            assert len(a) > 10
            assert a.tobytes() == b.tobytes(), channel
        differ = {k for k in there.metadata if there.metadata[k] != here.metadata.get(k)}
        assert differ <= {"policy_url", "policy_kind", "computed_by.policy"}
        assert there.metadata["policy_url"] == served.url


def test_a_server_in_the_configuration(write, served, tmp_path):
    path = write(policy={"kind": "remote", "url": served.url, "timeout_s": WAIT})
    assert run(path, tmp_path / "out", "--episodes", 1) == 0
    assert len(open_recording(tmp_path / "out" / "episode_0.mcap").rows("/chunk")) > 10


def test_a_server_where_no_policy_is_configured(write, served, tmp_path):
    assert run(write(), tmp_path / "out", "--episodes", 1, "--policy", served.url) == 0
    assert len(open_recording(tmp_path / "out" / "episode_0.mcap").rows("/chunk")) > 10


def test_a_server_that_fails_ends_the_run_as_a_fault(write, served, tmp_path, capsys, monkeypatch):
    infer, count = served.policy.infer, iter(range(1000))

    def fails(obs):
        if next(count) >= 3:  # from then on: in lock-step the client may be back before the fault
            raise RuntimeError("out of memory")
        return infer(obs)

    monkeypatch.setattr(served.policy, "infer", fails)
    path = write(task={**null_table()["task"], "limit_s": 5.0})
    assert run(path, tmp_path / "out", "--episodes", 1, "--policy", served.url) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "the policy failed: DeviceError:" in out
    assert "answered with an error: the policy failed: RuntimeError: out of memory" in out


@pytest.fixture
def refused(tmp_path, capsys):
    def refused(path, *args, code, says):
        assert run(path, tmp_path / "out", *args) == code
        error = capsys.readouterr().err
        assert says in error, error
        assert not list((tmp_path / "out").glob("*"))

    return refused


def test_runs_that_are_refused(write, refused, served, bundles):
    ours = ("--policy", served.url)
    refused(write(), "--policy", "models/x", code=2, says="as ws://HOST:PORT, found 'models/x'")
    refused(write(camera=[]), *ours, code=2, says="policy tiny wants camera `wrist`, found none")
    refused(write(), *ours, "--require", "ort", code=5, says="would have policy in remote")
    here, there = {"bundle": str(bundles / "policy")}, {"kind": "remote", "url": served.url}
    refused(
        write(policy={**here, **there}), code=2, says="key `bundle` for a policy of kind remote"
    )
    refused(write(policy={"kind": "remote"}), code=2, says="wanted the key `url`, found none")
    refused(
        write(policy={**there, "layuot": {}}),
        code=2, says="unknown key `layuot` for a policy of kind remote: did you mean `layout`?",
    )  # fmt: skip


def test_an_instruction_that_the_server_does_not_know(write, served, tmp_path, capsys):
    path = write(instruction="dance")
    assert run(path, tmp_path / "out", "--policy", served.url) == 3
    assert "policy tiny was not taught 'dance'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_serves_until_a_signal(bundles, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "headway", "serve", str(bundles / "policy"), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            first, second = process.stdout.readline(), process.stdout.readline()
            assert first == "policy tiny on ort (cpu)\n"
            assert second.startswith("serving ws://127.0.0.1:")
            policy = RemotePolicy(second.split()[1].rstrip(","), timeout_s=WAIT)
            assert policy.layout == of_bundle(bundle.load(bundles / "policy").manifest)
            policy.check_instruction(SENTENCES[2])
            policy.close()
            process.send_signal(number)
            said, errors = process.communicate(timeout=WAIT)
        finally:
            process.kill()
    assert said.splitlines()[-1] == "stopped"
    assert errors == ""
    assert process.returncode == 0


def _stops_at_once(monkeypatch):
    """A server that is told to stop as soon as it serves."""
    enter = PolicyServer.__enter__

    def leave(self):
        enter(self)
        os.kill(os.getpid(), signal.SIGTERM)
        return self

    monkeypatch.setattr(PolicyServer, "__enter__", leave)


def test_a_policy_with_noise_is_served_with_less_of_it(tmp_path, capsys, monkeypatch):
    _stops_at_once(monkeypatch)
    flow = flow_policy(tmp_path / "flow")
    assert serve_command(flow, "127.0.0.1", 0, "ort", 1, noise=0.0) == 0
    assert "policy flow on ort (cpu), 0 of its noise" in capsys.readouterr().out


def test_serving_more_than_this_machine_is_said(bundles, capsys, monkeypatch):
    _stops_at_once(monkeypatch)
    before = signal.getsignal(signal.SIGTERM)
    assert serve_command(bundles / "policy", "127.0.0.1", 0, "ort", 2) == 0
    assert "no authentication" not in capsys.readouterr().out
    monkeypatch.setattr(serve_module, "is_loopback", lambda host: False)
    assert serve_command(bundles / "policy", "127.0.0.1", 0, "ort", 2) == 0
    assert "there is no authentication and no encryption" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("host", "only_us"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("robot.local", False)],
)  # fmt: skip
def test_what_is_loopback(host, only_us):
    assert is_loopback(host) is only_us


def test_what_cannot_be_served(bundles, tmp_path, capsys, served):
    for args, code, says in (
        ([bundles / "pro"], 3, "wanted a bundle of kind policy, found pro"),
        ([tmp_path / "none"], 3, "wanted a bundle folder"),
        ([bundles / "policy", "--port", served.port], 5, "choose another --port"),
        ([bundles / "policy", "--port", -1], 2, "from 0 to 65535"),
        ([bundles / "policy", "--max-clients", 0], 2, "at least 1 client"),
        ([bundles / "policy", "--engine", "orrt"], 2, "did you mean `ort`?"),
    ):
        assert main(["serve", *map(str, args)]) == code
        assert says in capsys.readouterr().err


@pytest.mark.parametrize("package", ["websockets", "msgpack"])
@pytest.mark.parametrize("command_line", ["serve BUNDLE", "run --config CONFIG --policy ws://x"])
def test_without_the_extra_it_says_which(package, command_line, bundles, write):
    """In an interpreter that does not find the package."""
    words = command_line.replace("BUNDLE", str(bundles / "policy")).replace("CONFIG", str(write()))
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"from headway.__main__ import main; sys.exit(main({words.split()!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "pip install 'headway[remote]'" in done.stderr


@pytest.mark.parametrize(
    ("actions", "tensors"),
    [
        (tcp_actions(), {}),
        (tcp_actions(axes="base", units=("mm",) * 3 + ("rad",) * 3 + ("1",)), {}),
        (tcp_actions(scale=(0.5,) * 7, offset=(0.01,) * 7), {}),
        (tcp_actions(mode="step"), {"actions": {"mean": (0.1,), "std": (3.0,)}}),
        (tcp_actions(grip="width", grip_open=0.08), {"state": {"mean": (0.1,), "std": (3.0,)}}),
    ],
    ids=["plain", "millimetres", "scaled", "normalised", "width"],
)
def test_the_actions_are_those_of_the_bundle(tmp_path, actions, tensors):
    """Not only in a run: one observation, asked here and there. The server answers in SI units."""
    rows = np.arange(HORIZON * 7).reshape(HORIZON, 7)
    path = make_policy(tmp_path / "p", rows, policy={"actions": actions}, tensors=tensors)
    frame = Frame(np.full((16, 16, 3), 7, np.uint8), None, np.eye(3))
    obs = Observation(
        9, {"wrist": frame}, np.float32([1, 2, 3, 4]), SENTENCES[2], np.zeros(6), BASE
    )
    with serving_bundle(path) as served:
        policy = RemotePolicy(served.url, timeout_s=WAIT)
        here, there = served.policy.infer(obs), policy.infer(obs)
        policy.close()
    assert policy.actions == structs.replace(actions, units=None, scale=None, offset=None)
    assert here.actions.tobytes() == there.actions.tobytes()
    assert (here.t0_ns, here.dt_ns, here.base) == (there.t0_ns, there.dt_ns, there.base)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--noise", "nan"), "wanted --noise from 0 to 1, found nan"),
        (("--noise", "1.5"), "wanted --noise from 0 to 1, found 1.5"),
        (("--candidates", "0"), "wanted --candidates of 1 or more, found 0"),
    ],
)
def test_numbers_that_no_chunk_can_be_made_with(option, says, capsys):
    assert main(["serve", "a_bundle", *option]) == 2
    assert says in capsys.readouterr().err
