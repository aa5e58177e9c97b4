"""Whether a policy fits the robot, its task and its loop. Each question is asked of the function
that refuses a run (`headway.edge.control.fits` and its neighbours); here all answers are listed,
where a run ends with the first one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from msgspec import structs

from headway.drivers import Asked
from headway.edge.control import fits, pace
from headway.edge.control import settings as run_settings
from headway.edge.control.build import check_instruction
from headway.edge.control.episode import task_about
from headway.edge.control.planner import check_known
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.control.tasks import Task
from headway.edge.policy.instructions import Encoder
from headway.edge.policy.observation import name_misfits
from headway.edge.policy.policy import About, camera_misfits
from headway.errors import ConfigError, HeadwayError
from headway.tools.check import ranges
from headway.tools.check.described import Described
from headway.tools.check.lines import Line, amiss, judged, kept, refused, unasked
from headway.tools.check.models import Models

GROUP = "policy"


def run_lines(settings: Settings, devices: Described, station: Station) -> tuple[list[Line], Task]:
    """What a run wants whatever its policy: the guard's wrench, and samples that are new enough.
    Also the task, made for no episode. `station` may be closed. Raises what making a task
    raises."""
    task = run_settings.task(settings).make(task_about(station, 0, lambda *_: None))
    limit = f"at most {run_settings.task(settings).limit_s:g} s"
    lines = [kept("run", "task", f"kind {settings.task.get('kind')}", limit)]
    want = "a wrench at every tick" if settings.guard.require_wrench else "no wrench"
    found = "there is no [ft]" if settings.ft is None else "there is an [ft]"
    try:
        fits.check_wrench(settings)
        lines.append(kept("run", "guard", want, found))
    except ConfigError as e:
        lines.append(refused("run", "guard", want, e))
    return lines + list(_ages(settings, devices)), task


def _ages(settings: Settings, devices: Described) -> Iterator[Line]:
    """Whether each device gives samples often enough to be new enough."""
    loop = settings.loop
    for name, rate in devices.rates.items():
        if name == "station":
            most, key = loop.station_max_age_s, "loop.station_max_age_s"
        elif name.startswith("camera "):
            most, key = loop.camera_max_age_s, "loop.camera_max_age_s"
        else:
            most, key = loop.max_age_s, "loop.max_age_s"
        want, found = f"samples no older than {most:g} s", f"{rate:g} a second"
        if 1.0 / rate <= most:
            yield kept("run", f"rate of {name}", want, found)
        else:
            then = f"set {key} to more than {1.0 / rate:.3g}, or a higher rate of the device"
            yield amiss("run", f"rate of {name}", want, found, then)


def policy_lines(
    about: About,
    settings: Settings,
    devices: Described,
    station: Station,
    task: Task,
    models: Models,
) -> list[Line]:
    """All that is known of the policy `about` before it runs. `station` may be closed; `models`
    have its bundle, if it is one."""
    joints = station.model.joints
    space = about.actions
    lines = judged(
        GROUP, "action space", _actions(about), f"{station.model.name}: {', '.join(joints)}",
        _raised(lambda: space.check_joints(joints)),
    )  # fmt: skip
    if space.columns.grip is not None and settings.gripper is None:
        lines.append(unasked(GROUP, "grip", "there is no [gripper]: the policy's grip is ignored"))
    elif space.columns.grip is not None:
        lines.append(kept(GROUP, "grip", f"a gripper ({space.grip})", "there is a [gripper]"))
    lines += judged(
        GROUP, "state", f"{len(about.state_names)} numbers", "the loop knows all of them",
        (*name_misfits(about.state_names, joints), *fits.state_misfits(about, settings, task)),
    )  # fmt: skip
    lines += _cameras(about, devices)
    lines += _rates(about, settings)
    lines += _instructions(about, settings, models.encoder)
    return lines + _normalisation(settings, devices, station, models)


def _actions(about: About) -> str:
    space = about.actions
    what = f"joints {', '.join(space.joints)}" if space.space == "joint" else "motion of the TCP"
    return f"{what}, {space.mode}, {space.chunk} rows {space.dt_s:g} s apart"


def _raised(check: object) -> list[HeadwayError]:
    """What `check()` raises on purpose, as a list of one, or of none."""
    assert callable(check)
    try:
        check()
    except HeadwayError as e:
        return [e]
    return []


def _cameras(about: About, devices: Described) -> Iterator[Line]:
    """A line for each camera that the policy looks at."""
    if not about.cameras:
        yield unasked(GROUP, "cameras", "the policy looks at none")
    shapes = {name: shape for name, shape in devices.cameras.items() if shape is not None}
    for name in about.cameras:
        needs = tuple(n for n in about.needs.images if n.camera == name)
        alone = structs.replace(
            about, cameras=(name,), needs=structs.replace(about.needs, images=needs)
        )
        exact = {f"{n.width}x{n.height}" for n in needs if n.width}
        want = f"images of {' and '.join(sorted(exact)) or 'any size'}"
        want += " with depth" if any(n.depth for n in needs) else ""
        shape = shapes.get(name)
        found = "it is there; its size shows once it is open (--devices)"
        if shape is not None:
            found = f"{shape.width}x{shape.height}{' with depth' if shape.depth else ''}"
        if (rate := devices.rates.get(f"camera {name}")) is not None:
            found += f", {rate:g} a second"
        yield from judged(
            GROUP, f"camera {name}", want, found, camera_misfits(alone, devices.cameras, shapes)
        )


def _rates(about: About, settings: Settings) -> list[Line]:
    """Whether the loop can ask as often as the policy is made for, and chunks last until then."""
    loop = settings.loop
    lasts, limit = pace.lasting(loop, about)
    made_for = f"{about.needs.rate_hz:g} times a second" if about.needs.rate_hz else "at any rate"
    misfits = list(pace.misfits(loop, about))
    found = f"loop of {loop.hz:g} Hz"
    if not misfits:
        at = pace.pace(loop, about, 0.0)
        found += f", asked every {at.every} ticks ({at.hz:.4g} Hz); {limit} {lasts:g} s"
    return judged(
        GROUP, "rate", f"asked {made_for}, with chunks that last until the next", found, misfits
    )


def _instructions(about: About, settings: Settings, encoder: Encoder | None) -> list[Line]:
    """Whether the policy knows what it will be asked for."""
    known = about.needs.instructions
    texts = asked(settings)
    if known == ():
        return [
            unasked(GROUP, "instruction", check_instruction(about, settings) or "it takes none")
        ]
    want = "free text" if known is None else f"one of {', '.join(map(repr, known))}"
    misfits = [] if texts else _raised(lambda: check_instruction(about, settings))
    for text in texts:
        misfits += _raised(lambda text=text: check_known(about, text))
        if known is None and encoder is not None:
            misfits += _raised(lambda text=text: encoder.encode(text))
    if known is None and not texts:
        return [unasked(GROUP, "instruction", "it takes free text, and none is configured")]
    shown = ", ".join(map(repr, texts[:3])) + (f" and {len(texts) - 3} more" if texts[3:] else "")
    return judged(GROUP, "instruction", want, f"asked for {shown}", misfits)


def asked(settings: Settings) -> tuple[str, ...]:
    """The instructions that episodes may give: those of the world, or the configured one."""
    found = run_settings.world(settings)
    if found is not None:
        module, cfg = found
        said: Asked = module.asked(cfg, "[cell]")
        if said.instructions:
            return said.instructions
    return () if settings.instruction is None else (settings.instruction,)


def _normalisation(
    settings: Settings, devices: Described, station: Station, models: Models
) -> list[Line]:
    """Whether means, standard deviations and bounds are possible on this robot."""
    made = models.policy
    if made is None:
        return [unasked(GROUP, "normalisation", "the policy is no bundle: it does that itself")]
    count = ranges.counted(made)
    if count == 0:
        return [
            unasked(GROUP, "normalisation", "the bundle states none: the graph does that itself")
        ]
    robot = ranges.Robot(
        station.model.joints, station.arm_device.limits, devices.stroke, devices.wrench_max,
        settings.guard,
    )  # fmt: skip
    want = "numbers that this robot can have"
    said = f"nothing impossible in {count} of its inputs and outputs"
    lines = judged(GROUP, "normalisation", want, said, ranges.misfits(made, robot))
    return [replace(line, run_refuses=False) for line in lines]
