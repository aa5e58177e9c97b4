"""What a person steers by: a keyboard, a game pad, a space mouse, a leader arm (`Input`)."""

from __future__ import annotations

from headway.actions import ActionSpace

ANSWER_S = 0.04  # [s] from one action to the next, of all inputs
# What inputs of this kind say: the velocity of the TCP in the axes of the base, and open jaws 0 or
# closed ones 1.
TCP_VELOCITY = ActionSpace(
    names=("x", "y", "z", "rx", "ry", "rz", "grip"), chunk=1, dt_s=ANSWER_S, mode="velocity",
    axes="base",
)  # fmt: skip
