"""How often a policy is asked, and whether its chunks last until the next one is there."""

import pytest
from null_robot import tcp_actions

from headway import config
from headway.edge.control.pace import USUAL_HZ, pace
from headway.edge.control.settings import LoopConfig
from headway.edge.policy.policy import About, Needs
from headway.errors import ConfigError


def found(loop, latency_s=0.02, chunk_s=0.6, **needs):
    policy = About("tiny", (), (), tcp_actions(2, chunk_s / 2), Needs(**needs))
    return pace(config.decode(loop, LoopConfig, "[loop]"), policy, latency_s)


@pytest.mark.parametrize(
    ("loop", "rate_hz", "every"),
    [
        ({}, None, 500 / USUAL_HZ),
        ({}, 10.0, 50),
        ({}, 25.0, 20),
        ({"policy_hz": 10.0}, 10.0, 50),
        ({"policy_hz": 5.0}, None, 100),
        ({}, 30.0, 17),  # 29.4 a second: no whole number of ticks is nearer
        ({"policy_hz": 31.25}, 30.0, 16),
        ({"hz": 10.0, "policy_hz": 10.0, "pro_hz": 10.0, "watchdog_s": 0.0}, 10.0, 1),
    ],
)
def test_a_policy_is_asked_as_often_as_it_is_made_for(loop, rate_hz, every):
    at = found(loop, rate_hz=rate_hz)
    assert at.every == every
    assert at.hz == loop.get("hz", 500.0) / every
    assert at.note == ""


def single(loop, dt_s, mode="velocity", **needs):
    """The pace of a policy whose answer is one step of `dt_s` [s]."""
    policy = About("tiny", (), (), tcp_actions(1, dt_s, mode=mode), Needs(**needs))
    return pace(config.decode(loop, LoopConfig, "[loop]"), policy, 0.02)


@pytest.mark.parametrize(
    ("dt_s", "every"), [(0.05, 25), (0.1, 50), (1 / 15, 33), (0.5, 250), (0.001, 1)]
)
@pytest.mark.parametrize("mode", ["absolute", "chunk", "step", "velocity"])
def test_single_steps_are_asked_for_once_per_step(dt_s, every, mode):
    at = single({}, dt_s, mode)
    assert (at.every, at.hz) == (every, 500.0 / every)


def test_a_rate_comes_before_the_time_of_a_step():
    assert single({"policy_hz": 25.0}, 0.1, "chunk").every == 20
    assert single({}, 0.1, "chunk", rate_hz=25.0).every == 20


@pytest.mark.parametrize("mode", ["step", "velocity"])
def test_steps_that_are_asked_for_at_another_rate_are_said(mode):
    note = single({"policy_hz": 10.0}, 0.05, mode).note
    assert note.startswith(
        f"policy tiny is asked every 0.1 s, but each of its answers is one {mode} for 0.05 s: leave"
    )
    assert "set it to 20" in note
    assert single({"policy_hz": 20.0}, 0.05, mode).note == ""
    assert single({"policy_hz": 15.625}, 1 / 15, mode).note == ""  # near enough
    assert single({"policy_hz": 10.0}, 0.05, "absolute").note == ""
    assert found({"policy_hz": 5.0}, chunk_s=0.6).note == ""


@pytest.mark.parametrize("policy_hz", [50.0, 5.0])
def test_another_rate_than_it_is_made_for_is_refused(policy_hz):
    says = f"made to be asked 10 times a second, found loop.policy_hz = {policy_hz:g}: leave"
    with pytest.raises(ConfigError, match=says):
        found({"policy_hz": policy_hz}, rate_hz=10.0)


def test_a_rate_that_the_loop_cannot_come_near(tmp_path):
    with pytest.raises(ConfigError, match=r"number of ticks of loop\.hz = 100 comes near that"):
        found({"hz": 100.0}, rate_hz=70.0)


@pytest.mark.parametrize(
    ("loop", "chunk_s", "says"),
    [
        ({}, 0.05, r"asked every 0\.1 s, but its chunks last 0\.05 s.*policy_hz to 20"),
        ({"chunk_max_age_s": 0.05}, 0.6, r"but loop\.chunk_max_age_s allows 0\.05 s.*it to more"),
    ],
)
def test_chunks_that_end_before_the_next_is_asked_for(loop, chunk_s, says):
    with pytest.raises(ConfigError, match=says):
        found(loop, rate_hz=10.0, chunk_s=chunk_s)


def test_chunks_that_end_before_the_next_has_come_are_said():
    note = found({}, rate_hz=10.0, chunk_s=0.1).note
    assert note.startswith("the arm will stop between chunks: policy tiny is asked every 0.1 s and")
    assert found({}, rate_hz=10.0, chunk_s=0.1, latency_s=0.0).note == ""
    assert found({}, rate_hz=10.0, chunk_s=0.6).note == ""
