"""The simulated cell: physics, joint servos, and sensors with noise, bias and delay.

All devices of kind `sim` share one `Cell`. It has no thread: reading or commanding a device calls
`sync()`, which steps the physics up to the clock's present time. In lock-step the simulation
therefore runs as fast as the processor allows, and in real time the same code keeps up with the
wall clock.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config, plugins
from headway.clock import NS, Clock
from headway.drivers.kinematics import tool_down
from headway.drivers.sim.arm_model import with_gripper
from headway.drivers.sim.gl import import_mujoco
from headway.drivers.sim.gripper import FINGER_KP, FINGER_SPEED
from headway.drivers.sim.scenes import Scene
from headway.errors import ConfigError, Unstable
from headway.types import Vec

_FOLLOW_LATE_NS = 2_000_000  # delay of the reference in real time, see `Cell.follow`
_OVERVIEW = (1.25, -0.75, 0.85)  # where the overview camera stands for an arm of that reach [m]
_REACH = 1.387  # of the UR5e with its gripper, see `SimArm.reach` [m]

Noise = Annotated[float, Meta(ge=0.0, le=1000.0)]  # standard deviation


class CellConfig(config.Struct, frozen=True):
    """The `[cell]` section."""

    # A robot that comes with Headway, or the path of a URDF. It gets a gripper, see
    # `arm_model.with_gripper`.
    robot: Annotated[str, Meta(min_length=1)] = "ur5e"
    scene: str = "pick_place"
    timestep: Annotated[float, Meta(ge=1e-4, le=0.02)] = 0.002  # [s]
    # TCP at the start, base frame [m], with the tool down [the scene's, else the posture that the
    # robot's model calls home]
    home: tuple[float, float, float] | None = None
    home_spread: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02  # largest offset per axis [m]
    scene_config: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies defaults
    force_noise: Noise = 0.25  # largest sigma that an episode may draw [N]
    torque_noise: Noise = 0.01  # [Nm]
    force_bias: Noise = 1.5  # residual bias after taring, 1 sigma [N]
    torque_bias: Noise = 0.05  # [Nm]
    ft_delay_s: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.004
    joint_noise: Annotated[float, Meta(ge=0.0, le=1.0)] = 2e-5  # encoder noise [rad]
    # Error of each encoder's zero, 1 sigma [rad]: the arm stands elsewhere than it believes.
    joint_offset: Annotated[float, Meta(ge=0.0, le=0.1)] = 0.0
    wrist_fovy: Annotated[float, Meta(ge=1.0, le=170.0)] = 75.0  # [deg]
    # The robot's own protective stop: largest force at the wrist beyond the tool's weight, averaged
    # over about 10 ms [N]. It is far above the force that the guard allows.
    protective_force: Annotated[float, Meta(gt=0.0), config.INFINITE] = 150.0


def scene_config(cfg: CellConfig, where: str) -> Any:
    """The checked `Config` of the scene that `cfg` names; `where` names the section in errors.
    Raises ConfigError."""
    scenes = plugins.load("drivers.sim.scenes", cfg.scene)
    return config.decode(cfg.scene_config, scenes.Config, f"{where} scene_config of {cfg.scene}")


class Cell:
    """The world of the section `cfg`, on the run's `clock`. Devices of one process share it and
    hold `lock` while they use it. `arm` is the arm with its gripper, `robot` its model up to the
    TCP, `seed` that of the present scene; `offset` (n,) [rad] is by how much each joint stands
    elsewhere than its encoder says. Raises ConfigError for a robot or a scene that does not
    fit, Missing without MuJoCo."""

    def __init__(self, cfg: CellConfig, clock: Clock) -> None:
        self.cfg, self.clock = cfg, clock
        self.mujoco = import_mujoco()
        self.lock = threading.RLock()
        self.step_ns = round(cfg.timestep * NS)
        self._scenes = plugins.load("drivers.sim.scenes", cfg.scene)
        self.scene_cfg = scene_config(cfg, "[cell]")
        self.arm = with_gripper(cfg.robot)
        self.robot, self.gripper = self.arm.robot, self.arm.gripper
        self.episode = -1
        self.seed = 0  # of the scene
        self.model: Any = None
        self.reset(0)

    def reset(self, seed: int) -> str:
        """Build a new scene, which depends on `seed` alone, with the arm at home. Returns the
        instruction, "" where the scene has none. Raises ConfigError when robot and scene do not
        compile, or when home is out of reach."""
        with self.lock:
            rng = np.random.default_rng(seed)
            self.seed = seed
            cfg = self.cfg
            self.scene: Scene = self._scenes.build(self.scene_cfg, rng)
            mj = self.mujoco
            try:
                self.model = mj.MjModel.from_xml_string(self._xml())
            except ValueError as e:
                raise ConfigError(
                    f"the scene {cfg.scene} with the robot {cfg.robot} does not compile: {e}"
                ) from None
            self.data = mj.MjData(self.model)
            self._views()
            spread = rng.uniform(-1, 1, 3) * cfg.home_spread
            home = self._home(spread)
            d = self.data
            n = self.robot.n
            # A factor on the noise of sensors and of execution that the scene may have.
            self.noise_factor: float = getattr(self.scene_cfg, "noise", 1.0)
            self.offset = np.random.default_rng([seed, 2]).normal(0.0, 1.0, n)
            self.offset *= cfg.joint_offset * self.noise_factor
            d.qpos[:n] = d.ctrl[:n] = home + self.offset
            self.q_ref = home.copy()
            self._targets: deque[tuple[int, Vec]] = deque()
            self._passed = (0, home)  # the last target that the reference passed
            self.width_ref, self.grip_limit = self.gripper.stroke, self.gripper.force / 2
            self.noise = np.random.default_rng([seed, 1])
            self._ft_sigma = rng.uniform(0.2, 1.0) * np.array(
                [cfg.force_noise] * 3 + [cfg.torque_noise] * 3
            )
            self.ft_bias = rng.normal(0, 1, 6) * ([cfg.force_bias] * 3 + [cfg.torque_bias] * 3)
            self._ft_sigma *= self.noise_factor
            self.ft_bias *= self.noise_factor
            self._ft = deque([np.zeros(6)], maxlen=1 + round(cfg.ft_delay_s / cfg.timestep))
            self.protective_stop = False
            self._load = 0.0  # force at the wrist, averaged over about 10 ms [N]
            self.episode += 1
            mj.mj_forward(self.model, d)
            for _ in range(round(0.5 / cfg.timestep)):  # let the items settle
                self._physics()
            self.q_ref[:] = d.qpos[:n] - self.offset
            self.t_ns = self._start_ns = self.clock.now()
            if self.scene.step is not None:
                self.scene.step(self.model, d, 0.0)
            instruction: str = self.scene.instruction
            return instruction

    def _home(self, spread: Vec) -> Vec:
        """The joints (n,) [rad] at the start, of a TCP that is `spread` (3,) [m] away from home.
        Near its own home posture, an arm with few joints comes as close to that as it can. Raises
        ConfigError for a home out of reach."""
        chain, posture = self.robot.chain, self.robot.home
        home = self._scenes.HOME if self.cfg.home is None else self.cfg.home
        if home is None:
            R, p = chain.fk(posture)
            q, _ = chain.ik(R, p + spread, posture, iterations=100)
        else:
            p = np.array(home)
            # The jaws are alike, so half a turn about the vertical makes no difference to them.
            for yaw in (0.0, np.pi):
                q, residual = chain.ik(tool_down(yaw), p + spread, posture, iterations=100)
                if residual <= 1e-3:
                    break
            else:
                raise ConfigError(
                    f"[cell] home {tuple(home)} with the tool down is out of the arm's reach: "
                    f"{self.robot.name} misses the TCP pose at {np.round(p + spread, 3).tolist()} "
                    f"by {residual:.3g} (m or rad): choose another `home`, or a scene of the "
                    "robot's size"
                )
        # Turn the last joint by full turns to near zero, so that it starts far from its limits.
        near = (q[-1] + np.pi) % (2 * np.pi) - np.pi
        if self.robot.limits.q_min[-1] <= near <= self.robot.limits.q_max[-1]:
            q[-1] = near
        return q

    def _views(self) -> None:
        """Keep views of MuJoCo's arrays: each attribute access of its bindings costs 1 us. The arm
        comes first in all of them, then the gripper's mount and its two jaws."""
        d, n = self.data, self.robot.n
        self.q, self.dq, self.finger = d.qpos[:n], d.qvel[:n], d.qpos[n + 1 : n + 3]
        self.servo_torque, self.finger_force = d.actuator_force[:n], d.actuator_force[n : n + 2]
        self._ctrl, self._finger_ctrl = d.ctrl[:n], d.ctrl[n : n + 2]
        self._applied, self._bias = d.qfrc_applied[:n], d.qfrc_bias[:n]
        self._sensor, self._force = d.sensordata[:6], d.sensordata[:3]
        self._damping = self.model.dof_damping[:n].copy()
        self._load_gain = min(1.0, self.cfg.timestep / 0.01)
        self._load_max = self.cfg.protective_force + self.gripper.mass * 9.81
        w = self.mujoco.mjtWarning  # on these three warnings MuJoCo resets its state
        self._unstable = d.warning.number[int(w.mjWARN_BADQPOS) : int(w.mjWARN_BADQACC) + 1]
        self._step = self.mujoco.mj_step
        self._jaw_step = FINGER_SPEED * self.cfg.timestep
        self._stroke, self._jaw_ref = self.gripper.stroke, 0.0

    def sync(self) -> None:
        """Step the physics up to the clock's present time. Raises DeviceError when the simulation
        has become unstable."""
        now = self.clock.now()
        if now - self.t_ns < self.step_ns:
            return
        with self.lock:
            # After the host has stalled, simulate at most 1 s in one call.
            if now - self.t_ns > NS:
                self.t_ns = now - NS
            while now - self.t_ns >= self.step_ns:
                self._physics()
                self._protect()
                self.t_ns += self.step_ns
            if self.scene.step is not None:
                self.scene.step(self.model, self.data, (self.t_ns - self._start_ns) / NS)
            if any(self._unstable.tolist()):
                raise Unstable("the simulated cell became unstable: use a smaller [cell] timestep")

    def follow(self, q: Vec, t_ns: int) -> None:
        """Let the servo's reference be `q` (n,) [rad] at `t_ns` [ns].

        In lock-step it takes effect with the next step. In real time commands and steps are not
        aligned: some steps would see no new command and others two, which shakes the stiff servo.
        So the reference is interpolated between commands, and runs 2 ms (one command at 500 Hz)
        late, as in a robot controller.
        """
        if self.clock.realtime:
            if not self._targets:
                self._passed = (self.t_ns, self.q_ref.copy())
            self._targets.append((t_ns + _FOLLOW_LATE_NS, q.copy()))
        else:
            self.q_ref[:] = q

    def hold(self) -> None:
        """Set the servo's reference to where the arm is, and drop the commands not yet reached."""
        self._targets.clear()
        self.q_ref[:] = self.q - self.offset

    def _interpolate(self, t_ns: int) -> None:
        """Move the reference along the commands to its value at `t_ns` [ns]."""
        targets = self._targets
        while targets and targets[0][0] <= t_ns:
            self._passed = targets.popleft()
            self.q_ref[:] = self._passed[1]
        if targets:
            t0, q0 = self._passed
            t1, q1 = targets[0]
            if t0 < t_ns < t1:
                self.q_ref[:] = q0 + (q1 - q0) * ((t_ns - t0) / (t1 - t0))

    def _physics(self) -> None:
        if self._targets:
            self._interpolate(self.t_ns + self.step_ns)
        if not self.protective_stop:
            np.add(self.q_ref, self.offset, out=self._ctrl)
        # The robot's controller knows its own mass and the tool's, not the payload's.
        self._applied[:] = self._bias
        # The jaws have a position servo. Its reference moves at a bounded speed, and its distance
        # from the jaw times FINGER_KP stays below the force limit. `min` and `max` would take
        # longer than all the rest here.
        step, reference, jaw = self._jaw_step, self._jaw_ref, self.finger.item(0)
        way = (self._stroke - self.width_ref) / 2 - reference
        reference += -step if way < -step else step if way > step else way
        lead = self.grip_limit / FINGER_KP
        if reference < jaw - lead:
            reference = jaw - lead
        elif reference > jaw + lead:
            reference = jaw + lead
        self._jaw_ref = reference
        self._finger_ctrl.fill(reference)
        self._step(self.model, self.data)
        # MuJoCo's sensor has the opposite sign: ours is the force from outside on the tool.
        self._ft.append(-self._sensor)

    def _protect(self) -> None:
        """On too much force, hold the arm where it is until the next `reset`."""
        x, y, z = self._force.tolist()  # with floats, ten times faster than with arrays
        self._load += (math.sqrt(x * x + y * y + z * z) - self._load) * self._load_gain
        if self._load > self._load_max and not self.protective_stop:
            self.protective_stop = True
            self._targets.clear()
            self._ctrl[:] = self.q
            self.q_ref[:] = self.q - self.offset

    def wrench(self) -> Vec:
        """The reading of the F/T sensor (6,), force [N] then torque [Nm] on the tool in the sensor
        frame: with the tool's weight, bias and noise, and delayed by `ft_delay_s`."""
        noise = self.noise.standard_normal(6)
        noise *= self._ft_sigma
        noise += self.ft_bias
        noise += self._ft[0]
        return noise

    def encoders(self) -> Vec:
        """What the encoders of the joints read (n,) [rad]: with their noise, and the errors of
        their zeros."""
        q = self.noise.standard_normal(self.robot.n)
        q *= self.cfg.joint_noise * self.noise_factor
        q += self.q
        q -= self.offset
        return q

    def tau_ext(self) -> Vec:
        """Motor torque (n,) [Nm] beyond what the robot's own model of free motion explains."""
        return self.servo_torque - self._damping * self.dq  # type: ignore[no-any-return]

    def outcome(self) -> bool | None:
        """Whether the station's sensors report now that the instruction is carried out; None in a
        scene that cannot tell."""
        with self.lock:
            return self.scene.outcome(self.model, self.data)

    def _xml(self) -> str:
        c = self.cfg
        x, y, z = (round(self.arm.reach / _REACH, 1) * v for v in _OVERVIEW)
        return f"""<mujoco model="headway-cell">
<compiler angle="radian" autolimits="true" balanceinertia="true"/>
<option timestep="{c.timestep}" integrator="implicitfast" cone="elliptic" impratio="8">
 <flag sleep="enable"/></option>
<size memory="8M"/>
<visual><global offwidth="960" offheight="720"/>
 <headlight diffuse=".45 .45 .45" ambient=".38 .38 .38" specular=".1 .1 .1"/>
 <quality shadowsize="1024" offsamples="0" numslices="16" numstacks="8" numquads="2"/>
 <map znear="0.005" zfar="5"/></visual>
{self.arm.defaults_xml()}
<asset><texture name="sky" type="skybox" builtin="gradient" rgb1=".82 .86 .9" rgb2=".5 .55 .6"
 width="32" height="32"/></asset>
<worldbody>
 <light pos="0.3 -0.4 1.8" dir="0.1 0.2 -1" diffuse=".45 .45 .45" castshadow="false"/>
 <geom name="table" class="fixture" type="box" size=".6 .7 .03" pos="0.35 0 -.03"
  rgba=".86 .85 .82 1"/>
 <camera name="overview" pos="{x} {y} {z}" xyaxes=".62 .78 0 -.42 .33 .85" fovy="42"/>
 {self.arm.body_xml(c.wrist_fovy)}
 {self.scene.xml}
</worldbody>
{self.arm.actuators_xml()}{self.scene.sections}
</mujoco>"""
