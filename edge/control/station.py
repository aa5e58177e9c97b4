"""The devices of one run, opened as the configuration says and closed in reverse order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from headway.clock import NS, Clock, VirtualClock, WallClock
from headway.drivers import (
    Arm,
    Camera,
    Context,
    ForceTorqueSensor,
    Gripper,
    OrderStation,
    World,
    device_config,
)
from headway.drivers.latest import Latest
from headway.drivers.lock import DeviceLock
from headway.edge.control.payload import Payload
from headway.edge.control.settings import Settings, cameras, world
from headway.edge.motion.actions import Limb
from headway.errors import Stale
from headway.kernels.telemetry import Scale
from headway.types import ArmState, Frame, GripperState, OrderState, Wrench

# Makes a device. The arguments are the folder of `headway.drivers` (such as "arms"), the driver's
# module in it, its checked `Config`, and the context.
Connect = Callable[[str, ModuleType, Any, Context], Any]


def as_configured(folder: str, module: ModuleType, cfg: Any, ctx: Context) -> Any:
    """The device that the configuration names."""
    return module.connect(cfg, ctx)


class Station:
    """`with Station(settings, clock) as station:` opens all devices; nothing moves. `arm`, `ft`,
    `gripper`, `orders` and `cameras` give the newest samples, `arm_device` and `gripper_device`
    take commands; a device that is not configured is None. `stroke` [m] is the gripper's, None
    without one; `model` is the arm's, `chain` its kinematics, and `limb` what chunks are played on;
    `scale` is what PRO's features are scaled by, and `seed` that of the episode which was set up
    last.

    `connect` makes the devices, by default those that the configuration names.

    A device with an address (`info.uri`) is locked against other processes while it is open. Raises
    ConfigError, DeviceError, and Busy for a device that another process holds.
    """

    def __init__(self, settings: Settings, clock: Clock, connect: Connect = as_configured) -> None:
        self.settings, self.clock, self._connect = settings, clock, connect
        # Devices wait without spinning: a thread that spins holds Python's lock, and the loop would
        # wait for it.
        self.ctx = Context(WallClock(spin_ns=0) if isinstance(clock, WallClock) else clock)
        self.world: World | None = None
        described = world(settings)
        if described is not None:
            module, cfg = described
            self.world = connect("worlds", module, cfg, self.ctx)
        self.arm_device: Arm = self._open("arms", "arm", settings.arm)
        self.model = self.arm_device.model
        self.chain = self.arm_device.chain
        self.arm: Latest[ArmState] = Latest(self.arm_device, clock, "arm")
        self.ft: Latest[Wrench] | None = None
        self.gripper: Latest[GripperState] | None = None
        self.gripper_device: Gripper | None = None
        self.orders: Latest[OrderState] | None = None
        self.cameras: dict[str, Latest[Frame]] = {}
        self.has_depth: dict[str, bool] = {}
        if settings.ft is not None:
            ft: ForceTorqueSensor = self._open("ft", "ft", settings.ft)
            self.ft = Latest(ft, clock, "F/T sensor")
        if settings.gripper is not None:
            self.gripper_device = self._open("grippers", "gripper", settings.gripper)
            self.gripper = Latest(self.gripper_device, clock, "gripper")
        if settings.station is not None:
            orders: OrderStation = self._open("stations", "station", settings.station)
            self.orders = Latest(orders, clock, "station")
        for name, (module, cfg) in cameras(settings).items():
            camera: Camera = connect("cameras", module, cfg, self.ctx)
            self.cameras[name] = Latest(camera, clock, f"camera {name}")
            self.has_depth[name] = camera.has_depth
        self._stack = ExitStack()
        self.payload = Payload(settings.tool)
        limits = self.arm_device.limits
        scale = Scale(limits.q_min, limits.q_max, limits.dq_max, limits.tau_max)
        self.stroke: float | None = None
        if self.gripper_device is not None:
            self.stroke = self.gripper_device.stroke
            scale = replace(scale, stroke=self.stroke)
        # Without a gripper its features are masked; the default stroke in `scale` then scales none.
        self.scale = scale
        self.limb = Limb(self.chain, self.model.joints, self.stroke)
        self.seed = 0

    def _open(self, folder: str, section: str, table: dict[str, Any]) -> Any:
        module, cfg = device_config(folder, table, f"[{section}]")
        return self._connect(folder, module, cfg, self.ctx)

    @property
    def sources(self) -> list[Latest[Any]]:
        """All devices of this run, in the order in which they are opened: the arm, the F/T sensor,
        the gripper and the station if there are any, and the cameras."""
        optional = [s for s in (self.ft, self.gripper, self.orders) if s is not None]
        return [self.arm, *optional, *self.cameras.values()]

    @property
    def joints(self) -> int:
        """How many joints the arm has."""
        return len(self.arm_device.limits.q_min)

    def __enter__(self) -> Station:
        with ExitStack() as stack:
            held = set()
            for source in self.sources:
                device = source.source.info
                address = (device.uri, device.serial)
                # Devices at one address share a lock. A plain file, such as a recording, has none:
                # several processes may read it.
                if device.uri and address not in held and not Path(device.uri).is_file():
                    stack.enter_context(DeviceLock(device))
                    held.add(address)
                source.start()
                stack.callback(source.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Close all devices, even where closing one of them raises. An exception that is already
        under way is not replaced."""
        try:
            self._stack.close()
        except Exception:
            if value is None:
                raise

    def reset(self, seed: int) -> str | None:
        """Set up the episode of `seed`. Returns its instruction, None where there is none: the
        world's, else that of the line which the station says is due, else the configured one. In
        lock-step the clock restarts, so that an episode does not depend on those before it."""
        self.seed = seed
        if isinstance(self.clock, VirtualClock):
            self.clock.restart()
            for source in self.sources:
                source.restart()
        asked = self.world.reset(seed) if self.world is not None else ""
        return asked or self._due() or self.settings.instruction

    def _due(self) -> str:
        """What the station asks for now, "" where it says nothing."""
        try:
            return self.orders.latest(5 * NS).value.instruction if self.orders is not None else ""
        except Stale:  # it may begin to speak with the episode
            return ""

    def outcome(self) -> bool | None:
        """Whether the instruction was carried out, as the world tells; None where there is no world
        to ask."""
        return self.world.outcome() if self.world is not None else None
