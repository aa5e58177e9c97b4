"""Real-time scheduling: granted or refused, it is said, and given back."""

from __future__ import annotations

import os
import threading

import pytest

from headway.edge.realtime import PRIORITY, fifo


def test_refusal_is_said_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, policy: int, param: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = os.sched_getscheduler(0)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with fifo() as said:
        assert "refused (Operation not permitted)" in said
        assert "headway doctor" in said
    assert os.sched_getscheduler(0) == before


def test_granted_for_the_block_and_for_no_thread_started_in_it() -> None:
    before = os.sched_getscheduler(0)
    inherited: list[int] = []
    with fifo() as said:
        if "refused" in said:
            pytest.skip(f"this machine grants no real-time scheduling: {said}")
        assert said == f"SCHED_FIFO {PRIORITY}"
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        thread = threading.Thread(target=lambda: inherited.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
    assert inherited == [os.SCHED_OTHER]
    assert os.sched_getscheduler(0) == before
