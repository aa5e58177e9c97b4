"""The devices of a run as they are known without opening them: drivers are made, and nothing is
connected, started or moved. A device that cannot even be described has a line that says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headway.clock import WallClock
from headway.drivers import Arm, Context, device_config
from headway.edge.control import settings as run_settings
from headway.edge.control.settings import Settings
from headway.edge.policy.policy import FrameShape
from headway.errors import HeadwayError
from headway.tools.check.lines import Line, kept, refused, unasked

GROUP = "devices"


@dataclass
class Described:
    """`arm` is None where it cannot be described. `stroke` [m] of the gripper, None without one.
    `cameras` by name, with the shape of their frames, None where that only shows once they are
    open. `rates` [Hz] of samples by the name of the device, as far as they are configured.
    `wrench_max` is the largest force [N] and torque [Nm] that the F/T sensor measures, None where
    its driver does not say."""

    arm: Arm | None = None
    stroke: float | None = None
    cameras: dict[str, FrameShape | None] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    wrench_max: tuple[float, float] | None = None
    lines: list[Line] = field(default_factory=list)


def describe(settings: Settings) -> Described:
    """The devices of `settings`."""
    out = Described()
    ctx = Context(WallClock(spin_ns=0))
    if not _world(settings, ctx, out):
        return out
    arm = _of(out, ctx, "arms", "arm", settings.arm, _about_arm)
    out.arm = arm
    if settings.ft is None:
        out.lines.append(unasked(GROUP, "F/T sensor", "there is no [ft]"))
    else:
        ft = _of(out, ctx, "ft", "F/T sensor", settings.ft, _about)
        mounting = getattr(ft, "mounting", None)
        if mounting is not None:
            out.wrench_max = mounting.cfg.force_max, mounting.cfg.torque_max
    if settings.gripper is None:
        out.lines.append(unasked(GROUP, "gripper", "there is no [gripper]"))
    else:
        gripper = _of(out, ctx, "grippers", "gripper", settings.gripper, _about_gripper)
        out.stroke = getattr(gripper, "stroke", None)
    if settings.station is not None:
        _of(out, ctx, "stations", "station", settings.station, _about)
    for table, name in zip(settings.camera, run_settings.cameras(settings), strict=True):
        camera = _of(out, ctx, "cameras", f"camera {name}", table, _about_camera)
        if camera is None:
            continue
        size: tuple[int, int] | None = getattr(camera, "size", None)
        shape = None if size is None else FrameShape(size[0], size[1], camera.has_depth)
        out.cameras[name] = shape
    return out


def _world(settings: Settings, ctx: Context, out: Described) -> bool:
    """Make known what surrounds the robot; False, with a line, where that cannot be done."""
    found = run_settings.world(settings)
    if found is None:
        return True
    module, cfg = found
    kind = str((settings.cell or {}).get("kind", "sim"))
    try:
        getattr(module, "describe", module.connect)(cfg, ctx)
    except HeadwayError as e:
        out.lines.append(refused(GROUP, "cell", f"a world of kind {kind}", e))
        return False
    out.lines.append(kept(GROUP, "cell", f"a world of kind {kind}", "it is described"))
    return True


def _of(
    out: Described,
    ctx: Context,
    folder: str,
    name: str,
    table: dict[str, Any],
    say: Callable[[Any], str],
) -> Any:
    """The device of `table`, None where it cannot be described; `say` puts it into words."""
    wanted = f"kind {table.get('kind')}"
    try:
        module, cfg = device_config(folder, table, f"[{name}]")
        device = module.connect(cfg, ctx)
    except HeadwayError as e:
        out.lines.append(refused(GROUP, name, wanted, e))
        return None
    if (rate := getattr(cfg, "rate_hz", None)) is not None:
        out.rates[name] = float(rate)
    out.lines.append(kept(GROUP, name, wanted, say(device)))
    return device


def _about(device: Any) -> str:
    info = device.info
    where = f" at {info.uri}" if info.uri else ""
    return f"{info.model or info.kind}{where}"


def _about_arm(arm: Any) -> str:
    return f"{_about(arm)}: {arm.model.name}, {arm.model.n} joints"


def _about_gripper(gripper: Any) -> str:
    return f"{_about(gripper)}, opens to {gripper.stroke:g} m"


def _about_camera(camera: Any) -> str:
    size = getattr(camera, "size", None)
    depth = " with depth" if camera.has_depth else ""
    if size is None:
        return f"{_about(camera)}{depth}, of a size that shows once it is open"
    return f"{_about(camera)}, {size[1]}x{size[0]}{depth}"
