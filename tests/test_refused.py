"""Instructions that a policy takes for nothing that it can carry out: before a run nothing moves,
during an episode the arm stops and holds until there is another one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_policy import observation
from flow_rig import embedding, flow_policy, text_encoder, tokenizer
from loop_rig import Rig, check_log
from null_robot import null_table, run
from remote_rig import serving

from headway import bundle, config
from headway.clock import NS, VirtualClock
from headway.drivers.model import load
from headway.edge.control.build import Built
from headway.edge.control.events import EventKind
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.motion.actions import Limb
from headway.edge.policy.instructions import open_encoder
from headway.edge.policy.kinds.bundle import open_policy
from headway.edge.policy.policy import FrameShape
from headway.edge.policy.remote.client import RemotePolicy
from headway.edge.policy.remote.layout import of_bundle
from headway.edge.policy.worker.process import ProcessWorker
from headway.edge.policy.worker.source import PolicySource
from headway.errors import PolicyError, Refused, SpecMismatch
from headway.tools.recorded import events_of, result_of

UR5E = load("ur5e")
Q = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
HZ = 500  # of the loop on null devices
SING = "policy flow takes 'sing' for nothing that it can carry out (0.97): say it in other words"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    return flow_policy(tmp_path / "flow", texts=True)


def encode(folder: Path, text: str, odds: dict[str, float] | None = None, **changes: Any) -> Any:
    (folder / "text.onnx").write_bytes(text_encoder(odds))
    (folder / "tokenizer.json").write_bytes(tokenizer())
    return open_encoder(embedding(**changes), folder, "flow").encode(text)


def table(limit_s: float = 1.6, **changes: Any) -> dict[str, Any]:
    task = {"kind": "open_ended", "limit_s": limit_s}
    return null_table(task=task, **{"instruction": "down", **changes})


def test_a_text_is_refused_above_the_probability(tmp_path: Path) -> None:
    assert encode(tmp_path, "up")["instruction"].tolist() == [[1.0, 0.0]]
    with pytest.raises(
        Refused, match=r"takes 'sing' for nothing that it can carry out .0.97.: say"
    ):
        encode(tmp_path, "sing")
    with pytest.raises(Refused, match="takes 'dance'"):
        encode(tmp_path, "dance")
    assert encode(tmp_path, "sing", refuse_above=0.98)["instruction"].tolist() == [[0.0, 0.0]]
    assert encode(tmp_path, "sing", refused=None)["instruction"].tolist() == [[0.0, 0.0]]
    with pytest.raises(Refused):
        encode(tmp_path, "up", refuse_above=0.05)
    with pytest.raises(Refused, match="nan"):
        encode(tmp_path, "up", {"[UNK]": 0.0, "up": float("nan"), "down": 0.0, "sing": 0.0})


def test_a_refused_text_does_not_stand_in_the_way_of_the_next(flow: Path) -> None:
    policy = open_policy(str(flow))
    first = policy.infer(observation(instruction="down")).actions
    for _ in range(2):
        with pytest.raises(Refused):
            policy.infer(observation(instruction="sing"))
    np.testing.assert_array_equal(policy.infer(observation(instruction="down")).actions, first)
    up = policy.infer(observation(instruction="up")).actions
    assert up[-1, 2] > 0.005 > -0.005 > first[-1, 2]


def test_what_else_is_no_instruction_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="wants an instruction, found '', which has no tokens"):
        encode(tmp_path, "")
    with pytest.raises(Refused, match="takes 1 tokens, found 2 in 'up up'"):
        encode(tmp_path, "up up")


def test_an_output_that_is_no_probability_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SpecMismatch, match="wanted its output `embedding` as one float"):
        encode(tmp_path, "up", output="refused", refused="embedding")
    with pytest.raises(SpecMismatch, match=r"wanted the tensor `refusal`.*did you mean `refused`"):
        encode(tmp_path, "up", refused="refusal")
    with pytest.raises(ValueError, match="output and refused are both 'embedding'"):
        embedding(refused="embedding")


def test_a_run_that_begins_with_it_moves_nothing(
    flow: Path, write: Any, tmp_path: Path, capsys: Any
) -> None:
    settings = config.decode(
        table(policy={"bundle": str(flow)}, instruction="sing"), Settings, "test"
    )
    clock = VirtualClock(1)
    with Station(settings, clock) as station:
        moved: list[str] = []
        assert station.gripper_device is not None
        station.arm_device.activate = lambda: moved.append("arm")  # type: ignore[method-assign]
        station.gripper_device.command = (  # type: ignore[method-assign]
            lambda *a, **k: moved.append("jaws")
        )
        with pytest.raises(Refused, match="takes 'sing' for nothing"):
            Built(settings, station, clock)
        assert not moved
    path = write(policy={"bundle": str(flow)}, instruction="sing")
    assert run(path, tmp_path / "out") == SpecMismatch.exit_code
    assert SING in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("out/*.mcap"))


def heights(rig: Rig) -> Any:
    """Of the commanded TCP at each tick (ticks,) [m], along the axis of the tool, which points down
    in the base frame."""
    return np.array([-rig.station.chain.pose(q).pos[2] for q in rig.sent])


def test_during_an_episode_the_arm_stops_and_holds_until_there_is_another(
    flow: Path, tmp_path: Path
) -> None:
    rig = Rig(table(), open_policy(str(flow)))
    for tick, text in ((round(0.5 * HZ), "sing"), (round(1.1 * HZ), "up")):
        rig.at_tick(tick, lambda text=text: rig.loop.instruct(text))
    result = rig.run(tmp_path / "e.mcap")
    rig.check_arm()  # the stop is within the limits
    recording = check_log(tmp_path / "e.mcap", f"warning: {SING}", end="time limit")
    assert result.why == ""  # although it held for longer than loop.fault_after_s
    events = events_of(recording)
    refused = [e for e in events if e.kind is EventKind.REFUSED]
    assert len(refused) == 1  # it is asked every 0.1 s, and said once
    modes = [(e.subject, e.t_ns) for e in events if e.kind is EventKind.MODE]
    assert [m for m, _ in modes] == ["follow", "stop", "hold", "follow"]
    assert modes[1][1] - refused[0].t_ns <= NS // HZ  # not at the end of the chunk that it had
    assert "the policy refuses its instruction" in next(
        e.text for e in events if e.subject == "stop"
    )
    z = heights(rig)
    held = z[round(0.95 * HZ) : round(1.1 * HZ)]
    assert np.ptp(held) == 0.0
    assert held[0] < z[round(0.5 * HZ)] - 1e-4  # it came down before, and stopped on its way
    assert z[-1] > held[0] + 2e-3  # up again
    assert result_of(recording).policy_failed.startswith(SING)


def test_the_first_instruction_may_come_later(flow: Path, tmp_path: Path) -> None:
    late = table(limit_s=1.0)
    del late["instruction"]
    rig = Rig(late, open_policy(str(flow)))
    rig.at_tick(round(0.5 * HZ), lambda: rig.loop.instruct("up"))
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.why) == ("time limit", "")
    z = heights(rig)
    assert np.ptp(z[: round(0.5 * HZ)]) == 0.0
    assert z[-1] > z[0] + 2e-3
    check_log(tmp_path / "e.mcap", "wants an instruction, found ''")


def test_another_one_that_is_refused_is_said_again(flow: Path, tmp_path: Path) -> None:
    rig = Rig(table(limit_s=0.8), open_policy(str(flow)))
    for tick, text in ((150, "sing"), (250, "dance")):
        rig.at_tick(tick, lambda text=text: rig.loop.instruct(text))
    rig.run(tmp_path / "e.mcap")
    recording = check_log(tmp_path / "e.mcap")
    said = [e.text for e in events_of(recording) if e.kind is EventKind.REFUSED]
    assert [text.split("'")[1] for text in said] == ["sing", "dance"]


def test_a_policy_that_then_gives_no_chunk_still_ends_as_a_fault(
    flow: Path, tmp_path: Path
) -> None:
    """Only the refusal keeps an idle arm from being a fault."""
    policy = open_policy(str(flow))
    infer = policy.infer

    def broken(obs: Any) -> Any:
        if obs.instruction == "up":
            raise ValueError("a bug")
        return infer(obs)

    policy.infer = broken  # type: ignore[method-assign]
    rig = Rig(table(), policy)
    for tick, text in ((150, "sing"), (400, "up")):
        rig.at_tick(tick, lambda text=text: rig.loop.instruct(text))
    result = rig.run(tmp_path / "e.mcap")
    assert result.end == "fault"
    assert "ValueError: a bug" in result.why
    assert result.seconds == pytest.approx(0.8 + 0.2, abs=0.15)


def in_process(flow: Path) -> ProcessWorker:
    """The policy in a process of its own."""
    return ProcessWorker(
        PolicySource("headway.edge.policy.kinds.bundle:open_policy", {"bundle": str(flow)}),
        Limb(UR5E.chain, UR5E.joints), {"wrist": FrameShape(16, 16, True)}, Q,
    )  # fmt: skip


def test_the_policys_own_process_refuses_and_goes_on(flow: Path) -> None:
    worker = in_process(flow)
    try:
        with pytest.raises(Refused, match="takes 'sing' for nothing"):
            worker.reset("sing")
        worker.reset("down")
        at = {"base_q": Q, "base": UR5E.chain.pose(Q)}
        down = worker.answer(observation(instruction="down", t_ns=1, **at))
        with pytest.raises(Refused, match="takes 'sing' for nothing"):
            worker.answer(observation(instruction="sing", t_ns=2, **at))
        up = worker.answer(observation(instruction="up", t_ns=3, **at))
        assert up.chunk.actions[-1, 2] > down.chunk.actions[-1, 2]
        assert worker.restarts == 0
    finally:
        worker.close()


def test_a_policy_that_is_started_again_may_refuse_what_it_had_refused_before(
    flow: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("headway.edge.policy.worker.process._BACKOFF_S", (0.0,))
    worker = in_process(flow)
    try:
        with pytest.raises(Refused):
            worker.reset("")
        os.kill(worker.pid, signal.SIGKILL)
        end = time.monotonic() + 30  # a bound on waiting for another process
        while (worker.restarts == 0 or worker.trouble) and time.monotonic() < end:
            os.sched_yield()
        at = {"base_q": Q, "base": UR5E.chain.pose(Q)}
        assert worker.answer(observation(instruction="up", **at)).chunk.actions[-1, 2] > 0.005
    finally:
        worker.close()


def test_a_server_refuses_and_the_connection_stays(flow: Path) -> None:
    layout = of_bundle(bundle.load(flow).manifest)
    assert layout.instructions == ()
    with serving(open_policy(str(flow)), layout) as server:
        client = RemotePolicy(f"ws://127.0.0.1:{server.port}", timeout_s=30.0)
        websocket = client._websocket
        for text in ("sing", "dance"):
            with pytest.raises(Refused, match=f"takes '{text}' for nothing"):
                client.infer(observation(instruction=text))
        assert client.infer(observation(instruction="up")).actions[-1, 2] > 0.005
        assert client._websocket is websocket
        client.close()


def test_it_is_both_a_wrong_instruction_and_a_failure_of_the_policy() -> None:
    assert issubclass(Refused, SpecMismatch)
    assert issubclass(Refused, PolicyError)
