"""Whether the parts of a run fit together: what can be told before anything moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headway.clock import NS
from headway.edge.control.row import FILLED, OF_STATION
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.control.tasks import Task
from headway.edge.policy.observation import name_misfits
from headway.edge.policy.policy import About
from headway.edge.pro.made_from import Given, groups_of
from headway.errors import ConfigError, SpecMismatch, Stale, refuse

NO_POLICY = "there is no [policy]: the arm holds where it is"


def check_wrench(settings: Settings) -> None:
    """Raises ConfigError where the guard wants a wrench at every tick and nothing measures one."""
    if settings.guard.require_wrench and settings.ft is None:
        raise ConfigError(
            "[guard] wants a fresh wrench before anything may move (require_wrench is true unless "
            "it is set), found no [ft]: set require_wrench = false in [guard], or add [ft]"
        )


def check_state(policy: About, settings: Settings, task: Task) -> None:
    """Raises the first of `state_misfits`."""
    refuse(state_misfits(policy, settings, task))


def state_misfits(policy: About, settings: Settings, task: Task) -> Iterator[SpecMismatch]:
    """An error for each group of numbers of the state that `policy` wants and a run with `settings`
    and `task` can never give. `task` is one that was just made."""
    lacking = {
        "goal": (task.goal is None, "the task has no goal: add `goal` to [task]"),
        "pro": (settings.pro is None, "there is no [pro]: add it"),
        "gripper": (settings.gripper is None, "there is no [gripper]: add it"),
        "wrench": (settings.ft is None, "there is no [ft]: add it"),
    }
    for group, (lacks, why) in lacking.items():
        names = [name for name in policy.state_names if name.startswith(f"{group}.")]
        if names and lacks:
            yield SpecMismatch(
                f"policy {policy.name} wants the state {', '.join(names)}, and {why}, or choose a "
                "policy that does without"
            )


def check_joints(policy: About, station: Station) -> None:
    """Raises SpecMismatch for a policy that names joints or numbers of the state which the robot
    does not have."""
    policy.actions.check_joints(station.model.joints)
    refuse(name_misfits(policy.state_names, station.model.joints))


def given(station: Station, task: str, tasks: Sequence[str]) -> Given:
    """The telemetry that the open `station` gives a head which knows `tasks`, while it does `task`.
    Whether a device that is there gives all that its kind can shows only once it runs."""
    lacking: set[str] = set()
    if station.ft is None:
        lacking |= {"wrench"}
    if station.gripper is None:
        lacking |= {"width", "width_ref", "grip_force", "vacuum"}
    if task not in tasks:
        lacking |= {"task"}
    hz = station.settings.loop.hz
    fields = {*FILLED, *(OF_STATION if station.orders is not None else ())} - lacking
    return Given(station.model.name, hz, groups_of(fields, hz), task)


def notes(policy: About | None, station: Station) -> Iterator[str]:
    """What the user should know of the open `station` and of its `policy`, None without one."""
    model = station.model
    if model.missing:
        yield f"robot {model.name}: {'; '.join(model.missing)}"
    if policy is None:
        yield NO_POLICY
    elif policy.actions.columns.grip is not None and station.gripper_device is None:
        yield (
            f"policy {policy.name} commands a grip, and there is no [gripper]: its grip is ignored"
        )
    yield from outside(station)


def outside(station: Station) -> Iterator[str]:
    """A note for each axis on which the arm starts outside the guard's workspace."""
    try:
        state = station.arm.latest(5 * NS).value
    except Stale:  # in lock-step a sensor may begin with the first episode
        return
    cfg = station.settings.guard
    at, margin = station.chain.pose(state.q).pos.tolist(), cfg.workspace_margin
    for axis, x, low, high in zip("xyz", at, cfg.workspace_min, cfg.workspace_max, strict=True):
        low, high = low + margin, high - margin
        if not low <= x <= high:
            yield (
                f"the arm starts with its TCP at {axis} = {x:.3f} m, outside the guard's workspace "
                f"of {low:g} to {high:g} m: the guard refuses motion that takes it further out; if "
                "this is not meant, set workspace_min and workspace_max in [guard]"
            )
