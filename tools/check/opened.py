"""`headway check --devices`: the robot's own devices are opened and read. Nothing is activated or
commanded, so nothing moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from headway.clock import NS, WallClock
from headway.drivers.latest import Latest
from headway.edge.control import fits, policies
from headway.edge.control.row import Row
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.control.tasks import Task
from headway.edge.policy.observation import StateVector
from headway.edge.policy.policy import About, camera_misfits
from headway.errors import HeadwayError, SpecMismatch, Stale
from headway.tools.check.lines import Line, amiss, judged, kept, refused

GROUP = "opened"
FIRST_NS = 5 * NS  # a device is given so long for its first sample


def opened_lines(
    settings: Settings, about: About | None, task: Task
) -> tuple[list[Line], list[str]]:
    """What the devices of `settings` really give, for the policy `about`, None without one; and
    notes about the robot as it stands."""
    lines: list[Line] = []
    want = "all devices open"
    try:
        with Station(settings, WallClock()) as station:
            lines.append(kept(GROUP, "devices", want, ", ".join(s.name for s in station.sources)))
            lines += [_sample(source) for source in station.sources]
            notes = list(fits.notes(about, station))
            if about is not None:
                lines += _seen(about, station, task)
    except HeadwayError as e:
        return [*lines, refused(GROUP, "devices", want, e)], []
    return lines, notes


def _sample(source: Latest[Any]) -> Line:
    name, want = source.name, "a valid sample"
    try:
        sample = source.latest(FIRST_NS)
    except HeadwayError as e:
        return refused(GROUP, name, want, e)
    if sample.valid:
        return kept(GROUP, name, want, "there is one")
    then = "see the page of this device in docs/devices"
    why = f"one that is not valid: {', '.join(sample.flags) or 'no reason given'}"
    return amiss(GROUP, name, want, why, then)


def _seen(about: About, station: Station, task: Task) -> list[Line]:
    """Whether images and numbers of the state come as the policy wants them."""
    try:
        frames = policies.frames(station)
    except Stale as e:
        return [refused(GROUP, "images", "an image of each camera", e)]
    sizes = ", ".join(f"{n} {f.width}x{f.height}" for n, f in frames.items()) or "no camera"
    lines = judged(
        GROUP, "images", "as the policy wants them", sizes,
        camera_misfits(about, station.cameras, frames),
    )  # fmt: skip
    lacking = unknown(about, station, task)
    misfit = SpecMismatch(
        f"no device gives {', '.join(lacking)}: choose another driver, or a policy that does "
        "without"
    )
    return lines + judged(
        GROUP, "state", f"{len(about.state_names)} numbers", "each is a number",
        [misfit] if lacking else [],
    )  # fmt: skip


def unknown(about: About, station: Station, task: Task) -> list[str]:
    """The numbers of the state that the policy wants and the open `station` does not give now,
    though it has the device. Those that come from PRO come once it runs."""
    names = [n for n in about.state_names if not n.startswith("pro.")]
    state = station.arm.latest(FIRST_NS).value
    felt = grip = None
    if station.ft is not None:
        wrench = station.ft.latest(FIRST_NS).value
        felt = np.concatenate([wrench.force, wrench.torque])
    if station.gripper is not None:
        grip = station.gripper.latest(FIRST_NS).value
    row = Row(station.joints, math.nan, 1.0)
    if station.orders is not None:
        row.confirms(station.orders.latest(FIRST_NS).value, operator=False)
    dt = 1.0 / station.settings.loop.hz
    row.fill(0, 0.0, state.q_ref, dt, state, felt, grip, task, 0.0)
    vector = StateVector(names, station.model.joints, station.stroke)
    out = np.empty(len(names), np.float32)
    vector.fill(row.view, out, base=station.chain.pose(state.q), goal=task.goal)
    return [n for n, x in zip(names, out.tolist(), strict=True) if x != x]
