"""The state that teachers and learned policies see, by names of `edge.policy.observation`."""

from __future__ import annotations

# Behaviour cloning should not see the present motion: a policy that is given its own velocity
# learns to go on as before instead of using the images (de Haan, Jayaraman & Levine 2019).
CLONING_STATE: tuple[str, ...] = (
    "tcp.x", "tcp.y", "tcp.z", "tcp.yaw_sin", "tcp.yaw_cos",
    "gripper.width", "gripper.width_ref", "gripper.force",
    "retried",
    "wrench.fx", "wrench.fy", "wrench.fz",
)  # fmt: skip
# The policy for all workflows also sees in which phase its task is, by the robot's own sensors.
POLICY_STATE: tuple[str, ...] = (
    *CLONING_STATE,
    "wrench.tx", "wrench.ty", "wrench.tz",
    *(f"phase.{i}" for i in range(8)),
)  # fmt: skip
