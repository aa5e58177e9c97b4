"""Bundles of schema 1, which could only play motion of the TCP relative to the chunk's start and
were told the index of the instruction: `upgraded` turns such a manifest into one of schema 2."""

from __future__ import annotations

from typing import Any

from headway import config, units

# The frames that a policy could state, and the axes of its actions.
FRAMES = {
    "tcp": "tcp",
    "tcp at the chunk's start": "tcp",
    "tcp commanded at the observation": "tcp",
    "base": "base",
}
# Unit of `grip` -> its values for open and for closed jaws.
GRIPS = {"closed 0..1": (0.0, 1.0), "open 0..1": (1.0, 0.0), "closed -1..1": (-1.0, 1.0)}
_ACTIONS = {"dx": "x", "dy": "y", "dz": "z", "rx": "rx", "ry": "ry", "rz": "rz", "grip": "grip"}
# The names of the state, and what they are called now.
RENAMED = {
    "tcp_x": "tcp.x", "tcp_y": "tcp.y", "tcp_z": "tcp.z",
    "yaw_sin": "tcp.yaw_sin", "yaw_cos": "tcp.yaw_cos",
    "vx": "twist.vx", "vy": "twist.vy", "vz": "twist.vz",
    "width": "gripper.width", "width_ref": "gripper.width_ref", "grip_force": "gripper.force",
    "lead_x": "lead.x", "lead_y": "lead.y", "lead_z": "lead.z",
    "force_x": "wrench.fx", "force_y": "wrench.fy", "force_z": "wrench.fz",
}  # fmt: skip


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The manifest `data` of schema 1, as JSON gave it, as one of schema 2. What does not fit
    either schema is kept, for the checks of schema 2 to refuse. Raises ValueError, and KeyError or
    TypeError for what is missing or of another type."""
    new = {**data, "schema": 2}
    policy = data.get("policy")
    if not isinstance(policy, dict):
        return new
    policy = dict(policy)
    made: dict[str, Any] = {
        "actions": _actions(policy),
        "rate_hz": policy.pop("rate_hz"),
        "images": [_image(i) for i in policy.pop("images", [])],
    }
    names = [RENAMED.get(n, n) for n in policy.pop("state_names", [])]
    if names:
        made["state"] = [{"input": "state", "names": names}]
    texts = policy.pop("instructions", [])
    if texts:
        made["instruction"] = {"kind": "vocabulary", "input": "instruction", "texts": texts}
    return {**new, "policy": {**policy, **made}}


def _actions(policy: dict[str, Any]) -> dict[str, Any]:
    names, declared = policy.pop("action_names"), policy.pop("action_units")
    if len(names) != len(declared):
        raise ValueError(f"policy: {len(names)} action names, {len(declared)} units")
    frame = policy.pop("frame")
    if frame not in FRAMES:
        raise ValueError(
            f"policy: frame wants {', '.join(map(repr, FRAMES))}, found {frame!r}: "
            f"{config.suggest(str(frame), FRAMES)}"
        )
    unknown = sorted(set(names) ^ set(_ACTIONS))
    if unknown:
        raise ValueError(
            f"policy: wanted the action names {', '.join(_ACTIONS)} in any order, found "
            f"{', '.join(map(str, names))}"
        )
    made = {
        "names": [_ACTIONS[n] for n in names],
        "space": "tcp", "mode": "chunk", "rotation": "rotvec", "axes": FRAMES[frame],
        "grip": "binary", "chunk": policy.pop("chunk"), "dt_s": policy.pop("dt_s"),
    }  # fmt: skip
    scale = []
    for name, unit in zip(names, declared, strict=True):
        if name == "grip":
            if unit not in GRIPS:
                raise ValueError(
                    f"action_units of `grip`: wanted how it says open and closed, found {unit!r}: "
                    f"{config.suggest(str(unit), GRIPS)}"
                )
            made["grip_open"], made["grip_closed"] = GRIPS[unit]
            scale.append(1.0)
            continue
        try:
            scale.append(units.factor(unit, "m" if name.startswith("d") else "rad"))
        except ValueError as e:
            raise ValueError(f"action_units of `{name}`: {e}") from None
    if set(scale) != {1.0}:
        made["scale"] = scale
    return made


def _image(image: Any) -> Any:
    if not isinstance(image, dict):
        return image
    image = dict(image)
    found = image.pop("channels", None)
    wanted = 1 if image.get("encoding") == "depth_mm" else 3
    if found not in (None, wanted):
        raise ValueError(
            f"image of camera {image.get('camera')} ({image.get('encoding', 'rgb8')}): wanted "
            f"channels = {wanted}, found {found}"
        )
    return image
