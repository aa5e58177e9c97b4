"""PRO's reward against numbers worked out by hand, and against what it must not become.

    reward = gamma * Phi(t+1) - Phi(t) - lambda * risk - mu * (1 - stability), Phi = -time_to_go

as in docs/bundle.md and `headway.bundle.Pro`, where lambda is `risk_weight` and mu
`stability_weight`. Every number here has few binary digits, so that the comparison is exact.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from kernels_rows import scale
from msgspec import structs
from pro_head import make_head

from headway.edge.engines.engine import Buffers, specs
from headway.edge.pro import operator
from headway.edge.pro.operator import ProOperator
from headway.kernels.telemetry import empty

HZ, HEAD_HZ = 100.0, 50.0  # the head runs on every second tick
GAMMA, LAMBDA, MU = 0.75, 0.5, 0.25

# What the head says at each of its steps: time_to_go [s], risk, stability; and the reward.
STEPS = (
    # The first step has no step before it.
    (8.0, 0.5, 0.75, 0.0),
    # 0.75 * -6 = -4.5;  -4.5 + 8 = 3.5;  0.5 * 0.25 = 0.125;  0.25 * 0.125 = 0.03125
    (6.0, 0.25, 0.875, 3.34375),
    # 0.75 * -7 = -5.25;  -5.25 + 6 = 0.75;  0.5 * 0.75 = 0.375;  0.25 * 0.75 = 0.1875
    (7.0, 0.75, 0.25, 0.1875),
    # 0.75 * -2 = -1.5;  -1.5 + 7 = 5.5;  0.5 * 0.125 = 0.0625;  0.25 * 0 = 0
    (2.0, 0.125, 1.0, 5.4375),
    # 0.75 * -0.5 = -0.375;  -0.375 + 2 = 1.625;  0.5 * 0.3125 = 0.15625;  0.25 * 0.5 = 0.125
    (0.5, 0.3125, 0.5, 1.34375),
)
REWARDS = [reward for *_, reward in STEPS]


class Spoken(Buffers):
    """An engine whose outputs are those of `STEPS`, one step after the other, for two episodes."""

    kind = device = "stand-in"

    def __init__(self, manifest):
        super().__init__(specs(manifest.inputs), specs(manifest.outputs), "the stand-in")
        self._steps = iter(STEPS * 2)

    def run(self):
        to_go, risk, stability, _ = next(self._steps)
        for name, value in (("time_to_go", to_go), ("risk", risk), ("stability", stability)):
            self.bind(name)[:] = value
        self.bind("progress")[:] = 0.0625  # has no part in the reward
        self.bind("completion")[:] = 0.9375

    def close(self): ...


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A bundle whose manifest has the three weights of this file."""
    made = make_head(tmp_path_factory.mktemp("pro") / "head", rate_hz=HEAD_HZ)
    info = structs.replace(made.manifest.pro, gamma=GAMMA, risk_weight=LAMBDA, stability_weight=MU)
    return replace(made, manifest=structs.replace(made.manifest, pro=info))


def rewards(kind, head):
    """What an operator of class `kind` earns at each head step of two episodes."""
    pro = kind(head, Spoken(head.manifest), scale(), 6, hz=HZ, head_hz=HEAD_HZ, features="numpy")
    first = of_episode(pro)
    pro.reset()
    return [first, of_episode(pro)]


def of_episode(pro):
    row = empty(6, 1)[0]
    found = []
    for tick in range(2 * len(STEPS)):
        signals = pro.step(row, tick)
        if tick % 2:  # the head does not run: nothing is earned, and the signals hold
            assert not pro.updated
            assert pro.reward_now == 0.0
            assert signals.reward == found[-1]
            continue
        assert pro.updated
        assert pro.record["reward"] == signals.reward == pro.reward_now
        found.append(pro.reward_now)
    return found


def test_the_reward_is_that_of_the_formula(head):
    assert rewards(ProOperator, head) == [REWARDS, REWARDS]


def test_a_step_whose_tick_was_skipped_is_done_at_the_next_one(head):
    pro = ProOperator(
        head, Spoken(head.manifest), scale(), 6, hz=HZ, head_hz=HEAD_HZ, features="numpy"
    )
    row, updated = empty(6, 1)[0], []
    for tick, missed in ((0, 0), (1, 0), (3, 1), (4, 0), (5, 0), (9, 3)):
        pro.step(row, tick, missed)
        updated.append(pro.updated)
    assert updated == [True, False, True, True, False, True]


POTENTIAL, RISK = "info.gamma * phi - before", "- info.risk_weight * risk"
STABILITY = "- info.stability_weight * (1 - stability)"

MUTANTS = {
    "Phi's sign": ("phi = -time_to_go", "phi = time_to_go"),
    "sign of Phi(t+1)": (POTENTIAL, "-info.gamma * phi - before"),
    "sign of Phi(t)": (POTENTIAL, "info.gamma * phi + before"),
    "sign of both": (POTENTIAL, "before - info.gamma * phi"),
    "no gamma": (POTENTIAL, "phi - before"),
    "gamma on Phi(t)": (POTENTIAL, "phi - info.gamma * before"),
    "gamma on both": (POTENTIAL, "info.gamma * (phi - before)"),
    "no Phi(t+1)": (POTENTIAL, "-before"),
    "no Phi(t)": (POTENTIAL, "info.gamma * phi"),
    "sign of risk": (RISK, "+ info.risk_weight * risk"),
    "no weight of risk": (RISK, "- risk"),
    "no risk": (RISK, ""),
    "mu for lambda": (RISK, "- info.stability_weight * risk"),
    "sign of stability": (STABILITY, "+ info.stability_weight * (1 - stability)"),
    "no weight of stability": (STABILITY, "- (1 - stability)"),
    "no stability": (STABILITY, ""),
    "lambda for mu": (STABILITY, "- info.risk_weight * (1 - stability)"),
    "stability for 1 - stability": (STABILITY, "- info.stability_weight * stability"),
    "1 + stability": (STABILITY, "- info.stability_weight * (1 + stability)"),
    "both weights swapped": (
        f"{RISK} {STABILITY}",
        "- info.stability_weight * risk - info.risk_weight * (1 - stability)",
    ),
    "risk and stability swapped": ("(stability, risk, to_go)", "(risk, stability, to_go)"),
    "a first step from 0": ("return 0.0", "before = 0.0"),
    "a first step from itself": ("return 0.0", "before = phi"),
    "a first step that is Phi": ("return 0.0", "return phi"),
    "Phi(t) of the first step for ever": (
        "before, self._phi = self._phi, phi",
        "before = self._phi; self._phi = phi if before is None else before",
    ),
    "Phi kept over a reset": (
        "self._phi: float | None = None",
        "self._phi: float | None = getattr(self, '_phi', None)",
    ),
}


@pytest.mark.parametrize(("source", "mutant"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutated_reward_is_noticed(head, source, mutant):
    """The operator with one expression replaced in its source text earns something else."""
    text = inspect.getsource(ProOperator)
    assert text.count(source) == 1, f"wanted {source!r} once in ProOperator: name it as it is now"
    namespace = dict(vars(operator))
    exec(text.replace(source, mutant), namespace)
    assert rewards(namespace["ProOperator"], head) != [REWARDS, REWARDS]


def test_numbers_of_this_file_are_exact():
    for step in STEPS:
        assert np.float32(step).tolist() == list(step)
