"""The scripted oracle, demonstrators and injected failures: when they act, by what can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from headway.actions import ActionSpace
from headway.clock import NS
from headway.edge.control.events import EventKind
from headway.edge.control.result import Result
from headway.edge.policy.policy import Needs
from headway.errors import ConfigError
from headway.kernels import telemetry
from headway.learn.inject import OPEN_S, Injector
from headway.learn.oracle import WATCHED, Demonstrator, Oracle, OracleConfig
from headway.learn.rollout import DEMONSTRATION, ORACLE, PUSHED, Decisions, Rollout
from headway.types import Chunk, Observation, Pose

SPACE = ActionSpace(
    names=("x", "y", "z", "rx", "ry", "rz", "grip"), space="tcp", mode="chunk", rotation="rotvec",
    axes="tcp", grip="binary", chunk=2, dt_s=0.1,
)  # fmt: skip
CFG = OracleConfig(misses=0.0, delay_s=(0.5, 0.5), patience_s=3.0, longest_s=2.0)
BASE = Pose(np.zeros(3), np.array([1.0, 0, 0, 0]))
STEP_S = 0.2


class Fixed:
    """A policy whose chunks are all `value`, and that remembers the states it was given."""

    cameras: tuple[str, ...] = ()
    needs = Needs()
    thought = None

    def __init__(self, name, value, state_names, meta=None, actions=SPACE) -> None:
        self.name, self.value, self.state_names = name, value, tuple(state_names)
        self.actions, self.meta, self.asked = actions, meta or {}, []
        self.taken: list[tuple[int, bool]] = []

    def check_instruction(self, text):
        pass

    def reset(self):
        self.asked, self.taken = [], []

    def take_over(self, recovering):
        self.taken.append((len(self.asked), recovering))

    def infer(self, obs):
        self.asked.append(obs.state.tolist())
        actions = np.full((2, 7), self.value, np.float32)
        return Chunk(obs.t_ns, 100_000_000, actions, obs.base, meta=self.meta)


def station(cfg=CFG, left_s=100.0):
    oracle = Oracle(Fixed("p", 0.0, ("tcp.x",)), Fixed("e", 1.0, ("tcp.y", "tcp.x")), cfg)
    oracle.reset()
    oracle.left_s = left_s
    return oracle


def see(policy, k, seed=1, instruction="go", **values):
    """The observation number `k` of an episode; what is not named is 0."""
    names = policy.state_names
    state = np.zeros(len(names), np.float32)
    for name, value in values.items():
        state[names.index(name.replace("__", "."))] = value
    t_ns = round(k * STEP_S * NS)
    return Observation(
        t_ns, {}, state, instruction, np.zeros(6), BASE, seed=seed, number=k
    )  # fmt: skip


def drive(policy, count, **values):
    """Who made each of `count` chunks; `values` are functions of the number of the observation."""
    out = []
    for k in range(count):
        seen = {n: f(k) if callable(f) else f for n, f in values.items()}
        out.append(int(policy.infer(see(policy, k, **seen)).meta.get("source", 0)))
    return out


def test_it_takes_over_after_two_failed_attempts_and_a_delay_and_hands_back():
    oracle = station()
    who = drive(oracle, 40, retries=lambda k: 2.0 if k >= 5 else 0.0, phase__2=1.0)
    assert who[:8] == [0] * 8  # it reacts half a second later
    first = who.index(ORACLE)
    assert first == 8
    assert who[first : first + 10] == [ORACLE] * 10  # for `longest_s`
    assert who[first + 10] == 0
    assert oracle.taken >= 1


def test_both_are_given_the_states_that_they_ask_for():
    oracle = station()
    oracle.infer(see(oracle, 0, tcp__x=1.0, tcp__y=2.0))
    assert oracle.policy.asked == [[1.0]]
    drive(oracle, 10, retries=2.0, tcp__x=1.0, tcp__y=2.0)
    assert oracle.expert.asked[0] == [2.0, 1.0]


def test_the_expert_is_told_when_it_takes_over_and_before_it_is_asked():
    oracle = station()
    fails = {"retries": lambda k: k // 20 * 2.0 + 2.0, "recovering": lambda k: float(k < 20)}
    who = drive(oracle, 40, **fails)
    begins = [k for k in range(1, 40) if who[k] == ORACLE != who[k - 1]]
    assert len(begins) == oracle.taken >= 2
    assert oracle.expert.taken == [(who[:k].count(ORACLE), k < 20) for k in begins]
    assert {recovering for _, recovering in oracle.expert.taken} == {True, False}


def test_it_hands_back_when_the_line_is_closed():
    oracle = station()
    who = drive(
        oracle, 20, retries=2.0, station__scale=lambda k: float(k >= 6), phase__2=1.0,
    )  # fmt: skip
    assert ORACLE in who[:6]
    assert who[6] == 0
    oracle = station()
    who = drive(oracle, 12, retries=2.0, instruction=lambda k: "a" if k < 7 else "b")
    assert (who[6], who[7]) == (ORACLE, 0)


def test_it_takes_over_where_nothing_goes_on_and_not_while_phases_do():
    assert ORACLE in drive(station(), 25, phase__1=1.0)

    def phase(n):
        return lambda k: float(k // 8 == n)

    goes_on = {f"phase__{n}": phase(n) for n in range(8)}
    assert ORACLE not in drive(station(), 40, **goes_on)


def test_after_a_recovery_the_phases_of_another_attempt_are_progress():
    def seen(phases):
        names = {f"phase__{n}": (lambda k, n=n: float(phases(k) == n)) for n in range(8)}
        return {**names, "recovering": lambda k: float(phases(k) == 7)}

    again = [*[0] * 6, *[1] * 6, *[7] * 6, *[0] * 6, *[1] * 6, *[2] * 6]  # 1.2 s each
    assert ORACLE not in drive(station(), 36, **seen(again.__getitem__))
    assert ORACLE in drive(station(), 36, **seen(lambda k: 7))


def test_it_takes_over_at_a_large_force_and_watches_without_a_station():
    hard = {"wrench__fz": lambda k: 50.0 if k == 3 else 0.0, "phase__1": 1.0}
    assert ORACLE in drive(station(), 8, **hard, station__place=float("nan"))
    soft = {"wrench__fz": 30.0, "phase__1": 1.0}
    assert ORACLE not in drive(station(), 8, **soft, station__place=float("nan"))


def test_it_never_acts_longer_than_it_may():
    assert ORACLE not in drive(station(left_s=0.0), 40, retries=2.0)
    oracle = station(structs.replace(CFG, longest_s=9.0), left_s=0.7)
    who = drive(oracle, 60, retries=lambda k: k // 4)
    assert who.count(ORACLE) * STEP_S <= 0.7 + STEP_S
    assert oracle.left_s <= 0.0


def test_it_misses_a_share_of_the_moments_and_the_same_for_the_same_seed():
    cfg = OracleConfig(delay_s=(0.2, 0.4), patience_s=50.0, misses=0.3, missed_s=50.0)

    def takes(seed):
        oracle = station(cfg)
        return [
            int(oracle.infer(see(oracle, k, seed=seed, retries=2.0)).meta.get("source", 0))
            for k in range(8)
        ]

    found = [takes(seed) for seed in range(300)]
    missed = np.mean([ORACLE not in who for who in found])
    assert 0.2 < missed < 0.4
    assert [takes(seed) for seed in range(20)] == found[:20]


def test_an_expert_of_other_chunks_is_refused():
    other = structs.replace(SPACE, chunk=3)
    with pytest.raises(ConfigError, match="same chunks"):
        Oracle(Fixed("p", 0.0, ()), Fixed("e", 1.0, (), actions=other), CFG)


def test_pushes_of_a_demonstration_are_marked():
    def source(meta):
        made = Demonstrator(Fixed("p", 0.0, ()), Fixed("e", 1.0, ("tcp.x",), meta))
        made.reset()
        chunk = made.infer(see(made, 0))
        assert chunk.actions[0, 0] == 1.0
        return int(chunk.meta["source"])

    assert source({}) == source({"demonstration": 1.0}) == DEMONSTRATION
    assert source({"demonstration": 0.0}) == PUSHED


def test_what_it_watches_can_be_seen_by_the_loop():
    from headway.edge.policy.observation import StateVector

    row = telemetry.empty(6, 1)[0]
    row["retries"], row["phase"], row["scale_match"], row["wrench"] = 4.0, 2.0, 1.0, np.ones(6)
    out = np.zeros(len(WATCHED), np.float32)
    StateVector(WATCHED).fill(row, out, base=BASE)
    seen = dict(zip(WATCHED, out.tolist(), strict=True))
    assert (seen["retries"], seen["phase.2"], seen["phase.1"]) == (4.0, 1.0, 0.0)
    assert seen["station.scale"] == 1.0
    assert np.isnan(seen["station.place"])


def test_an_injected_failure_opens_the_jaws_once_while_they_hold():
    policy = Injector(Fixed("p", 1.0, ("tcp.x",)))
    policy.reset()
    grip = []
    for k in range(40):
        held = {"gripper__force": 12.0, "gripper__width": 0.03, "gripper__width_ref": 0.0}
        obs = see(policy, k, seed=4, **(held if k >= 10 else {}))
        grip.append(float(policy.infer(obs).actions[0, 6]))
    opened = [k for k, g in enumerate(grip) if g == 0.0]
    assert len(opened) == round(OPEN_S / STEP_S)
    assert 10 + 2 <= opened[0] <= 10 + 8
    assert opened == list(range(opened[0], opened[0] + len(opened)))
    result = Result(
        end="done", success=True, seconds=1.0, ticks=1, retries=0, rejected=0, missed=0,
        peak_force=0.0, reward=0.0,
    )  # fmt: skip
    none = Decisions(*(np.zeros(0) for _ in range(5)))
    made = policy.told(Rollout("x", 4, result, (), telemetry.empty(6, 1), none, {}))
    assert [e.kind for e in made.events] == [EventKind.INJECTED]
    policy.reset()
    assert policy.told(made) is made  # nothing was held, so nothing was opened
