"""How often the policy is asked for a chunk: by the rate that it is made for and `[loop]`, else by
the time that one of its single steps takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headway.edge.control.settings import LoopConfig
from headway.edge.policy.policy import About
from headway.errors import ConfigError, refuse

USUAL_HZ = 10.0  # of chunks where neither the policy nor the configuration gives a rate [Hz]
FITS = 0.1  # relative difference allowed from the rate that the policy is made for


@dataclass(frozen=True)
class Pace:
    """The policy is asked every `every` ticks, which is `hz` times a second. `note`: what the user
    should know about this, "" for nothing."""

    hz: float
    every: int
    note: str


def pace(loop: LoopConfig, policy: About, latency_s: float) -> Pace:
    """The pace of `policy` in a loop with the section `loop`. `latency_s` [s]: from an observation
    to its chunk, 0 where it is not known before the run.

    Raises ConfigError where the configuration wants another rate than the policy is made for, where
    no whole number of ticks comes near that rate, and where a chunk ends before the policy is asked
    again.
    """
    refuse(misfits(loop, policy))
    every = _every(loop, policy)
    hz = loop.hz / every
    notes = (_steps_fit(policy, hz), chunks_meet(loop, policy, every / loop.hz, latency_s))
    return Pace(hz, every, "; ".join(note for note in notes if note))


def misfits(loop: LoopConfig, policy: About) -> Iterator[ConfigError]:
    """An error for each thing that `pace` refuses."""
    made_for = policy.needs.rate_hz
    hz = loop.hz / _every(loop, policy)
    if made_for is not None and abs(hz - made_for) > FITS * made_for:
        if loop.policy_hz is not None:
            yield ConfigError(
                f"policy {policy.name} is made to be asked {made_for:g} times a second, found "
                f"loop.policy_hz = {loop.policy_hz:g}: leave loop.policy_hz out, or name a policy "
                "of that rate"
            )
        else:
            yield ConfigError(
                f"policy {policy.name} is made to be asked {made_for:g} times a second, but no "
                f"whole number of ticks of loop.hz = {loop.hz:g} comes near that: set loop.hz to a "
                "multiple"
            )
    lasts, limit = lasting(loop, policy)
    if lasts < (1.0 - 1e-9) / hz:
        yield ConfigError(
            f"policy {policy.name} is asked every {1.0 / hz:g} s, but {limit} {lasts:g} s: the arm "
            f"would stop in between: set {_remedy(loop, policy, lasts)}"
        )


def _every(loop: LoopConfig, policy: About) -> int:
    """The ticks between two questions to the policy; `misfits` checks whether that suits it."""
    single = policy.actions.chunk == 1  # such a policy is asked once per step
    usual = 1.0 / policy.actions.dt_s if single else USUAL_HZ
    return max(1, round(loop.hz / (loop.policy_hz or policy.needs.rate_hz or usual)))


def _steps_fit(policy: About, hz: float) -> str:
    """A note for the user where single steps or velocities, each made for `dt_s`, are asked for at
    another rate `hz`, else ""."""
    space = policy.actions
    own_hz = 1.0 / space.dt_s
    if space.chunk > 1 or space.mode not in ("step", "velocity"):
        return ""
    if abs(hz - own_hz) <= FITS * own_hz:
        return ""
    return (
        f"policy {policy.name} is asked every {1.0 / hz:g} s, but each of its answers is one "
        f"{space.mode} for {space.dt_s:g} s: leave loop.policy_hz out, or set it to {own_hz:g}, if "
        "it is made to be asked once per answer"
    )


def lasting(loop: LoopConfig, policy: About) -> tuple[float, str]:
    """How long a chunk can be followed [s], and the words for what limits it."""
    duration_s = policy.actions.duration_s
    if duration_s <= loop.chunk_max_age_s:
        return duration_s, "its chunks last"
    return loop.chunk_max_age_s, "loop.chunk_max_age_s allows"


def chunks_meet(loop: LoopConfig, policy: About, period_s: float, latency_s: float) -> str:
    """A note for the user where the arm, whose policy is asked every `period_s` [s] and answers
    `latency_s` [s] later, would stop between chunks because of the latency, else ""."""
    lasts, limit = lasting(loop, policy)
    if lasts < (period_s + latency_s) * (1.0 - 1e-9):
        return (
            f"the arm will stop between chunks: policy {policy.name} is asked every {period_s:g} s "
            f"and answers {latency_s:g} s later, but {limit} {lasts:g} s"
        )
    return ""


def _remedy(loop: LoopConfig, policy: About, lasts_s: float) -> str:
    if lasts_s < policy.actions.duration_s:
        return "it to more"
    return f"loop.policy_hz to {1.0 / lasts_s:g} or more, with a policy of that rate"
