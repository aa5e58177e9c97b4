"""An arm that plays a recording back. Commands are checked and kept, but nothing follows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headway import config
from headway.drivers import Context, RemoteStop
from headway.drivers.model import RobotModel, load
from headway.drivers.replay_source import ReplaySource, Tape, bad, info, tape_of
from headway.drivers.transforms import parts, transform
from headway.errors import ConfigError, DeviceError
from headway.types import ArmState, Pose, Sent, Vec

_COLUMNS = ("q", "dq", "q_ref", "tcp", "twist", "tau_ext")
_FIT = 0.002  # largest distance allowed between the recorded TCP and the model's [m]


remote_stop: RemoteStop | None = None

PATHS = ("path",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[arm]` for the kind `replay`. `path`: the recording; `topic`: where its telemetry
    is."""

    path: str
    topic: str = "/telemetry"
    # A robot that comes with Headway, or the path of a URDF; None: the one that the recording
    # names, the UR5e where it names none.
    model: str | None = None


class ReplayArm(ReplaySource[ArmState]):
    """`sent` is the last command, None before the first. The TCP's position on the last link is
    derived from the recorded TCP poses."""

    def __init__(self, tape: Tape, cfg: Config) -> None:
        times, self._rows = tape.rows(cfg.topic, _COLUMNS)
        name = cfg.model or tape.log.metadata.get("robot", "ur5e")
        super().__init__(tape, info(tape, f"{name} arm"), times)
        self.model = _model(name, self._rows, str(tape.log.path))
        self.limits, self.chain = self.model.limits, self.model.chain
        self.sent: Sent | None = None
        self._active = False

    def sample(self, i: int) -> tuple[ArmState, tuple[str, ...]]:
        row = self._rows[i]
        q, dq, tau, tcp = (row[n].copy() for n in ("q", "dq", "tau_ext", "tcp"))
        names = self._rows.dtype.names or ()
        stop = "protective_stop" in names and bool(row["protective_stop"] > 0)
        state = ArmState(
            q,
            dq,
            row["q_ref"].copy(),
            Pose(tcp[:3], tcp[3:]),
            row["twist"].copy(),
            None if np.isnan(tau).all() else tau,
            protective_stop=stop,
        )
        return state, bad(q=q, dq=dq)

    def activate(self) -> None:
        self._active = True

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        """Keep `q` (n,) [rad] in `sent`; nothing moves. Raises DeviceError before `activate`, and
        for a wrong number of joints or values that are not finite, as a real arm does."""
        if not self._active:
            raise DeviceError("the replayed arm wants activate() before a command")
        n = len(self.limits.q_min)
        if q.shape != (n,) or not np.isfinite(q).all():
            raise DeviceError(f"the replayed arm wants {n} finite joint positions, found {q}")
        self.sent = Sent(q.copy(), self.tape.clock.now())
        return self.sent

    def stop(self, category: int = 2) -> None:
        self._active = self._active and category == 2


def _model(name: str, rows: NDArray[np.void], path: str) -> RobotModel:
    """The robot model `name` with the TCP that fits the telemetry `rows`: where its position was
    recorded, the turn of its frame stays that of the model. Raises ConfigError for an unknown
    model, or one that does not fit the recorded arm."""
    model = load(name)
    joints = rows.dtype["q"].shape[0]
    if joints != model.n:
        raise ConfigError(f"{path} was recorded with {joints} joints, found model {name!r} for it")
    known = rows[np.isfinite(rows["q"]).all(axis=1) & np.isfinite(rows["tcp"]).all(axis=1)]
    if not len(known):
        return model
    some = known[np.linspace(0, len(known) - 1, min(20, len(known))).astype(int)]
    tools = []
    for row in some:
        R, p = parts(tuple(model.chain.transforms(row["q"])[-1]))
        tools.append(R.T @ (row["tcp"][:3] - p))
    tool = np.median(tools, axis=0)
    error = float(np.abs(np.array(tools) - tool).max())
    if error > _FIT:
        raise ConfigError(
            f"{path}: the recorded TCP is {error * 1000:.0f} mm off the kinematics of {name!r}: "
            "choose the model of the recorded arm"
        )
    turn, _ = parts(model.chain.tool)
    return replace(model, chain=replace(model.chain, tool=transform(turn, tool)))


def connect(cfg: Config, ctx: Context) -> ReplayArm:
    """The arm of the recording, not open yet. Raises RecordingError for a file that cannot be read
    or lacks `topic`, and ConfigError for telemetry or a `model` that does not fit."""
    return ReplayArm(tape_of(cfg.path, ctx), cfg)
