"""The arms of a study: what tells apart the systems that are compared."""

from __future__ import annotations

from typing import Any, Literal

from headway.config import AtLeastOne, Struct


class Arm(Struct, frozen=True):
    """What tells the systems apart that are compared; everything else is the same for all.

    `credit` says what tells what a decision was worth; with "demonstrations" nothing does, and each
    round has fresh demonstrations instead of rollouts. `oracle`: whether the scripted oracle takes
    over. `candidates`: chunks that the critic chooses from, while collecting and at tests; 1: the
    plain policy."""

    credit: Literal["demonstrations", "pro", "outcome", "attempts", "clock", "shuffled"]
    oracle: bool = True
    candidates: AtLeastOne = 1

    @property
    def learns(self) -> bool:
        """Whether it learns from its own executions."""
        return self.credit != "demonstrations"


ARMS: dict[str, Arm] = {
    "B0": Arm("demonstrations", oracle=False),
    "1.5": Arm("outcome"),
    "1.6": Arm("pro"),
    # Controls.
    "1.6-alone": Arm("pro", oracle=False),
    "1.5-alone": Arm("outcome", oracle=False),
    "1.6-n4": Arm("pro", candidates=4),
    "1.5-n4": Arm("outcome", candidates=4),
    "attempts": Arm("attempts"),
    "clock": Arm("clock"),
    "shuffled": Arm("shuffled"),
}


def demonstrated(name: str, settings: dict[str, Any]) -> bool:
    """Whether all robot time of the arm `name` is fresh demonstrations, by its `settings` or by
    its name; an arm that is not known here is none."""
    known = ARMS[name].credit if name in ARMS else None
    return settings.get("credit", known) == "demonstrations"
