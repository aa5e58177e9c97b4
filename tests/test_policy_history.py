"""What a policy is shown of the past: several steps, and its own previous action."""

from __future__ import annotations

import numpy as np
import pytest

from headway.actions import ActionSpace
from headway.edge.policy.history import History
from headway.edge.policy.policy import Needs
from headway.edge.policy.previous import Previous
from headway.types import Moment


def moment(tick: int) -> Moment:
    return Moment({}, np.float32([tick]))


def shown(history: History, every: int, phase: int, ticks: range, blind: tuple[int, ...] = ()):
    """What each observation shows of the past, by the tick of the observation."""
    out = {}
    for tick in ticks:
        if history.due(tick):
            past = history.add(tick, None if tick in blind else moment(tick))
            if history.asks(tick) and tick not in blind:
                out[tick] = [int(m.state[0]) for m in past]
    return out


@pytest.mark.parametrize(("every", "stride"), [(10, 10), (10, 3), (3, 10), (50, 17), (1, 5)])
def test_each_observation_shows_the_moments_one_stride_apart_the_oldest_first(every, stride):
    history = History(Needs(steps=3, stride_s=stride / 500.0), every, 0, 500.0)
    found = shown(history, every, 0, range(400))
    assert found[200 // every * every] == [
        200 // every * every - 2 * stride, 200 // every * every - stride
    ]  # fmt: skip
    assert sorted(found) == list(range(0, 400, every))


def test_the_first_moment_stands_for_what_was_before_the_episode():
    history = History(Needs(steps=4, stride_s=0.02), 10, 5, 500.0)
    found = shown(history, 10, 5, range(40))
    assert found == {5: [5, 5, 5], 15: [5, 5, 5], 25: [5, 5, 15], 35: [5, 15, 25]}


def test_a_moment_that_was_not_seen_is_replaced_by_the_next_one():
    history = History(Needs(steps=3, stride_s=0.02), 10, 0, 500.0)
    assert shown(history, 10, 0, range(60), blind=(30,))[50] == [40, 40]


def test_a_policy_of_one_step_is_looked_at_only_when_it_is_asked():
    history = History(Needs(), 17, 3, 500.0)
    assert [t for t in range(60) if history.due(t)] == [3, 20, 37, 54]
    assert history.add(3, moment(3)) == ()


def test_what_was_due_at_a_skipped_tick_is_due_at_the_next_one():
    history = History(Needs(steps=3, stride_s=0.02), 10, 0, 500.0)
    found = {}
    for tick, missed in ((0, 0), (10, 0), (21, 2), (25, 0), (30, 0), (43, 5), (50, 0)):
        if history.due(tick, missed):
            past = history.add(tick, moment(tick))
            if history.asks(tick, missed):
                found[tick] = [int(m.state[0]) for m in past]
    # 43 stands for 40, and shows what was seen at 20 (by 21) and 30
    assert found == {
        0: [0, 0], 10: [0, 0], 21: [0, 10], 30: [10, 21], 43: [21, 30], 50: [30, 43]
    }  # fmt: skip


def space(chunk: int) -> ActionSpace:
    return ActionSpace(names=("a", "b"), space="joint", mode="absolute", chunk=chunk, dt_s=0.1)


def test_the_previous_action_is_zero_until_the_policy_has_answered():
    previous = Previous(space(1))
    assert previous.at(5).tolist() == [0.0, 0.0]
    previous.answered(0, np.array([[1.0, 2.0]]))
    assert previous.at(5).tolist() == [1.0, 2.0]
    previous.reset()
    assert previous.at(10**9).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("after_s", "row"), [(0.0, 0), (0.05, 0), (0.1, 0), (0.19, 0), (0.2, 1), (0.31, 2), (9.0, 3)]
)
def test_of_a_chunk_the_previous_action_is_the_row_whose_time_has_come(after_s, row):
    previous = Previous(space(4))
    rows = np.arange(8.0).reshape(4, 2)
    previous.answered(7, rows)
    assert previous.at(7 + round(after_s * 1e9)).tolist() == rows[row].tolist()
