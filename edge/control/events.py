"""What happens in an episode, as typed records: the topic /event of a recording.

Programs read `kind`, `subject` and `numbers`. `text` is for people and may be reworded at any time;
it is also a line of /log, which every viewer of logs can show.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

Level = Literal["debug", "info", "warning", "error", "fatal"]


class EventKind(Enum):
    """What an event is about. The values are written into recordings: they are never changed, and
    never used again for something else."""

    # The task, as the robot's own sensors tell it. `numbers`: width [m], x, y, z [m] of the TCP, as
    # far as the task has them.
    ITEM_HELD = "item_held"
    ITEM_LOST = "item_lost"
    CLOSED_ON_NOTHING = "closed_on_nothing"
    RELEASED_AT_TARGET = "released_at_target"
    RELEASED_ELSEWHERE = "released_elsewhere"
    # An item was held at the scanner for long enough, but its barcode was not read; an item was put
    # down where it belongs, but the station did not close its line.
    NOT_READ = "not_read"
    NOT_CONFIRMED = "not_confirmed"
    TASK_DONE = "task_done"
    # Boxes with latches: a click was felt; a press ended without one; the latch has caught again,
    # since nobody lifted the lid in time.
    CLICKED = "clicked"
    PRESSED_IN_VAIN = "pressed_in_vain"
    LATCHED = "latched"
    # Where the TCP should be, as drawn for this episode. `numbers`: x, y, z [m] and, where the
    # orientation matters, roll, pitch, yaw [rad], in the base frame.
    GOAL = "goal"
    # The TCP is there. `numbers`: by how much the goal is missed, distance_m [m], angle_rad [rad].
    GOAL_REACHED = "goal_reached"
    # Anything else that a task reports, in its own words and numbers.
    TASK = "task"
    # What the station says of the order. A line is due: `text` is what it asks for; `numbers`: line
    # (its index), lines. The station has closed one: `numbers` likewise.
    LINE_BEGUN = "line_begun"
    LINE_CLOSED = "line_closed"
    # A sensor of the station confirms something. `subject`: "place", "barcode", "scale" (the weight
    # is right) or "scale mismatch"; `numbers`: line, lines.
    CONFIRM = "confirm"
    # The policy is given another instruction while the episode runs: `text`.
    INSTRUCTION = "instruction"
    # The guard sent something other than the wanted command. `subject`: the name of its `Reason`;
    # `numbers` of its `Finding`: index (of the joint, axis or pair; -1: none), found, limit.
    GUARD = "guard"
    # Something is wrong with a whole chunk. `subject`: the name of the `Reason` that the guard's
    # check found, with the `numbers` waypoint and those of GUARD; or "inverse kinematics".
    CHUNK = "chunk"
    # The motion has changed its mode. `subject`: follow, stop or hold (`motion.deadline.Mode`).
    MODE = "mode"
    # PRO's risk slows the motion, or no longer does. `numbers`: speed (0..1), risk (0..1).
    SPEED = "speed"
    # A sensor gives no sample, or none that can be used. `subject`: its name, or what is wrong.
    SENSOR = "sensor"
    # The policy failed, was too slow, or is being started again.
    POLICY = "policy"
    # Somebody else takes over from the policy, or gives the arm back to it. `subject`: correction
    # or policy.
    TAKEOVER = "takeover"
    # The policy takes its instruction for nothing that it can carry out: the arm stops, and holds
    # until there is another one.
    REFUSED = "refused"
    # Something failed here, says a person who has watched the recording (`headway patch`). It is
    # in no recording: `headway.tools.flags` keeps it beside it. `text`: what failed.
    FLAGGED = "flagged"
    # The computer was throttled while the episode ran.
    MACHINE = "machine"
    # A fault was injected on request (`headway run --inject`). `subject`: its kind.
    INJECTED = "injected"
    # The episode ended as a fault. `subject`: how it ended.
    FAULT = "fault"
    # An exception ended the run. `subject`: its type.
    EXCEPTION = "exception"
    # Read from a recording without kinds, or with one that this version does not know.
    OTHER = "other"


# The events that count as a retry of the task: the item was lost, missed or put down elsewhere, or
# the latch of a box did not give way, or no longer does, or the station did not see what it should.
RETRIES = frozenset(
    (
        EventKind.ITEM_LOST, EventKind.CLOSED_ON_NOTHING, EventKind.RELEASED_ELSEWHERE,
        EventKind.PRESSED_IN_VAIN, EventKind.LATCHED,
        EventKind.NOT_READ, EventKind.NOT_CONFIRMED,
    )
)  # fmt: skip


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event at `t_ns` on the loop's clock; 0 where it has no time of its own."""

    t_ns: int  # [ns]
    kind: EventKind
    level: Level
    text: str
    subject: str = ""
    numbers: dict[str, float | None] = {}  # by name; None (JSON null): the number is not finite
