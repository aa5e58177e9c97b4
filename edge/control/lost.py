"""Groups of telemetry that PRO wants and that were lost within an episode: told as an event of the
kind `sensor`, once a group and episode, where nothing else has told the same loss."""

from __future__ import annotations

from collections.abc import Collection

from headway.clock import NS
from headway.edge.control.log import NullLog
from headway.edge.guard.reasons import Reason
from headway.edge.pro.made_from import LOST_S

# By group: the subjects of the events that tell its loss, of the sensors (`senses.Senses`,
# `Episode.contact`) and of the guard.
_ARM = frozenset(("arm", Reason.NO_STATE.name, Reason.BAD_STATE.name))
_FT = _ARM | {"F/T sensor", "stuck", "orientation", Reason.NO_WRENCH.name, Reason.BAD_WRENCH.name}
_TOLD_BY: dict[str, frozenset[str]] = {
    **dict.fromkeys(("q", "dq", "tau", "tcp", "twist", "speed", "spin"), _ARM),
    **dict.fromkeys(("force", "torque", "force_norm", "torque_norm"), _FT),
    **dict.fromkeys(("width", "width_ref", "grip_force", "vacuum"), frozenset(("gripper",))),
    "station": frozenset(("station",)),
}
# An event that tells the same loss is as old as the loss is when PRO finds it: LOST_S and a few
# ticks. An older one tells an earlier loss of the same sensor, which has only one event an episode.
_SAME_NS = round(2 * LOST_S * NS)


def tell(log: NullLog, groups: Collection[str], t_ns: int) -> None:
    """Log an event for each of the `groups` (mask bits) that `ProOperator.lost` names at the tick
    at `t_ns` [ns], the first time in an episode, unless an event has told the same loss."""
    recent = {e.subject for e in log.events if t_ns - e.t_ns <= _SAME_NS}
    for group in groups:
        if recent.isdisjoint(_TOLD_BY.get(group, ())):
            text = (
                f"PRO has had no {group} for {LOST_S:g} s, which its head or its calibration was "
                "made with: it goes on without it"
            )
            log.once(t_ns, f"PRO {group}", text)
