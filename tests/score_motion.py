"""One smooth motion with contacts, a grasp and torques, known at every time: for samples of it at
any rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway.tools.score.mapping import Channel, Mapping, Time, check

SECONDS = 6.0
PHASE = np.array([0.0, 0.6, 1.2, 1.9, 2.5, 3.3])
HZ = np.array([0.35, 0.5, 0.4, 0.6, 0.45, 0.55])


def motion(t: Any) -> dict[str, Any]:
    """Fields of telemetry at the times `t` (n,) [s]."""
    angle = 2 * np.pi * HZ * t[:, None] + PHASE
    q = 0.5 * np.sin(angle)
    dq = 0.5 * 2 * np.pi * HZ * np.cos(angle)
    w = 2 * np.pi * 0.4
    pos = np.column_stack(
        [0.4 + 0.1 * np.sin(w * t), 0.1 * np.cos(w * t), 0.3 + 0.05 * np.sin(1.3 * w * t)]
    )
    speed = np.column_stack(
        [0.1 * w * np.cos(w * t), -0.1 * w * np.sin(w * t), 0.065 * w * np.cos(1.3 * w * t)]
    )
    half = 0.4 * np.sin(1.1 * t) / 2  # turning about z by 0.4 sin(1.1 t)
    zero = np.zeros_like(t)
    quat = np.column_stack([np.cos(half), zero, zero, np.sin(half)])
    turn = np.column_stack([zero, zero, 0.44 * np.cos(1.1 * t)])
    push = bump(t, 1.5, 0.5) * 18.0 + bump(t, 3.6, 0.6) * 25.0
    force = np.column_stack([0.3 * push, 0.2 * push, 0.9 * push]) + 0.2
    torque = np.column_stack([0.02 * push, -0.03 * push, 0.01 * push])
    return {
        "q": q,
        "dq": dq,
        "tcp": np.hstack([pos, quat]),
        "twist": np.hstack([speed, turn]),
        "tau_ext": 2.0 * np.sin(angle) + 0.1 * push[:, None],
        "wrench": np.hstack([force, torque]),
        "width": 0.03 + 0.05 * (1 - ramp(t, 2.2, 0.4) + ramp(t, 4.4, 0.4)),
        "width_ref": np.where((t >= 2.1) & (t < 4.3), 0.0, 0.08),
        "grip_force": 10.0 + 5.0 * np.sin(2 * np.pi * 0.4 * t),
    }


def bump(t: Any, at: float, width: float) -> Any:
    """0 outside, a smooth hill of height 1 and `width` [s] around `at` [s]."""
    x = np.clip((t - at) / width + 0.5, 0.0, 1.0)
    return np.sin(np.pi * x) ** 4


def ramp(t: Any, start: float, length: float) -> Any:
    """From 0 to 1, smoothly, in `length` [s] from `start` [s] on."""
    x = np.clip((t - start) / length, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x * x)


def sampled(path: Path, hz: float, leave_out: tuple[str, ...] = ()) -> Path:
    """The motion at `hz`, as an .npz."""
    t = np.arange(round(SECONDS * hz) + 1) / hz
    fields = {k: v for k, v in motion(t).items() if k not in leave_out}
    np.savez(path, t=t, **fields)
    return path


def motion_map(leave_out: tuple[str, ...] = (), **keys: Any) -> Mapping:
    extra: dict[str, dict[str, Any]] = {
        "tcp": {"layout": "xyz quat wxyz"},
        "wrench": {"frame": "tcp", "force": "on tool"},
    }
    names = [n for n in motion(np.zeros(1)) if n not in leave_out]
    channels = {n: Channel(key=n, **extra.get(n, {})) for n in names}
    return check(Mapping(channels=channels, **{"time": Time(key="t"), **keys}), "map.toml")
