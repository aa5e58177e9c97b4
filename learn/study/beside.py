"""Arms of another study beside those of a study, tested on the same orders, so that they can be
compared pair by pair."""

from __future__ import annotations

from msgspec import structs

from headway.errors import ConfigError
from headway.learn.study import plan as plans
from headway.learn.study.plan import Arm, Plan
from headway.learn.study.summary import Results


def beside(plan: Plan, found: Results, other: Plan, others: Results) -> tuple[Plan, Results]:
    """`plan` with the arms of `other`, called ARM-STUDY there, on the workflows that both have, and
    what the units of both found (`found` and `others`). Each main arm of `plan` is compared with
    each of `other`. Raises ConfigError where nothing can be compared: no workflow or seed in both,
    or other test orders."""
    both = tuple(w for w in plan.workflows if w in other.workflows)
    if not both:
        raise ConfigError(
            f"wanted a workflow that {plan.name} and {other.name} have, found "
            f"{', '.join(plan.workflows)} and {', '.join(other.workflows)}"
        )
    _same_orders(plan, other, both)
    named = {arm.name: f"{arm.name}-{other.name}" for arm in other.arms}
    own = [_on(arm, both, arm.name) for arm in plan.arms]
    new = [_on(arm, both, named[arm.name]) for arm in other.arms]
    arms = tuple(arm for arm in (*own, *new) if arm.workflows)
    first = min(arm.priority for arm in own)
    main = [arm.name for arm in own if arm.priority == first and arm.workflows]
    joined = structs.replace(
        plan,
        arms=arms,
        measured=structs.replace(
            plan.measured,
            compare=(
                *(pair for pair in plan.measured.compare if set(pair) <= {a.name for a in arms}),
                *((name, arm.name) for name in main for arm in new if arm.workflows),
            ),
        ),
    )
    results = {key: result for key, result in found.items() if key[1] in both}
    results |= {(named[a], w, s): result for (a, w, s), result in others.items() if w in both}
    return joined, results


def _on(arm: Arm, workflows: tuple[str, ...], name: str) -> Arm:
    kept = tuple(w for w in arm.workflows if w in workflows)
    return structs.replace(arm, name=name, workflows=kept)


def _same_orders(plan: Plan, other: Plan, workflows: tuple[str, ...]) -> None:
    """Raises ConfigError unless units with the same workflow and seed have the same test orders."""
    own = {(u.workflow, u.seed): u.tests for u in plans.units(plan)}
    pairs = [
        ((unit.workflow, unit.seed), unit.tests)
        for unit in plans.units(other)
        if unit.workflow in workflows and (unit.workflow, unit.seed) in own
    ]
    if plan.seeds.units[: len(other.seeds.units)] != other.seeds.units or not pairs:
        raise ConfigError(
            f"wanted seeds of {other.name} with which those of {plan.name} begin, "
            f"{list(plan.seeds.units)}, found {list(other.seeds.units)}"
        )
    for key, tests in pairs:
        if tests != own[key]:
            raise ConfigError(
                f"wanted the same test orders in {plan.name} and {other.name}, found others for "
                f"{key[0]} with seed {key[1]}: [suites] and the seeds of tests have to be the same"
            )
