"""The jaws: from the grip of a chunk over the player and the guard to what the gripper is told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from guard_rig import BOX, LIMITS, N, T

from headway.edge.control.jaws import Jaws
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.jaws import GRIP_SLACK
from headway.edge.guard.reasons import FINE, Reason
from headway.edge.motion.chunks import ChunkPlayer, JointChunk

WAY_NS = 100_000_000
NAN = math.nan


def player_of(grip: Any, **changes: Any) -> ChunkPlayer:
    player = ChunkPlayer(1, 0.002)
    player.reset(np.zeros(1))
    way = np.array(grip, float)
    chunk = JointChunk(0, WAY_NS, np.zeros((len(way), 1)), way, 0.0, **changes)
    assert player.adopt(chunk, 0)
    return player


def played(player: ChunkPlayer, *at: float) -> list[tuple[float, float]]:
    out = []
    for k in at:
        assert player.sample(round(k * WAY_NS)) is not None
        out.append((player.grip, player.grip_force))
    return out


def test_a_continuous_grip_is_interpolated_and_a_binary_one_steps() -> None:
    at, grip = (0.0, 0.5, 1.0, 1.25, 2.0), [0.0, 0.5, 0.1]
    force = np.array([10.0, 20.0, NAN])
    found = played(player_of(grip, grip_kind="continuous", grip_force=force), *at)
    np.testing.assert_allclose([g for g, _ in found], [0.0, 0.25, 0.5, 0.4, 0.1])
    np.testing.assert_allclose([f for _, f in found], [10.0, 15.0, NAN, NAN, NAN])
    found = played(player_of(grip, grip_force=force), *at)
    np.testing.assert_array_equal([g for g, _ in found], [0.5, 0.5, 0.1, 0.1, 0.1])
    np.testing.assert_array_equal([f for _, f in found], [20.0, 20.0, NAN, NAN, NAN])


def test_the_player_says_what_the_chunk_does_with_the_jaws_and_forgets_it() -> None:
    player = player_of([NAN, NAN], grip_kind="none")
    assert player.grip_kind == "binary"  # nothing is played yet
    player.sample(0)
    assert player.grip_kind == "none"
    player.reset(np.zeros(1))
    assert (player.grip_kind, player.grip, player.ended) == ("binary", 0.0, False)
    assert math.isnan(player.grip_force)


def test_the_episode_is_ended_once_the_row_that_ends_it_is_played() -> None:
    player = player_of([0.0] * 4, ends_at=2)
    seen = []
    for k in (0.0, 1.0, 1.99, 2.0, 2.5):
        player.sample(round(k * WAY_NS))
        seen.append(player.ended)
    assert seen == [False, False, False, True, True]
    chunk = JointChunk(3 * WAY_NS, WAY_NS, np.zeros((3, 1)), np.zeros(3), 0.0)
    player.adopt(chunk, 3 * WAY_NS)
    player.sample(3 * WAY_NS)
    assert player.ended  # a later chunk does not take it back
    player.reset(np.zeros(1))
    player.adopt(chunk, 3 * WAY_NS)
    player.sample(5 * WAY_NS)
    assert not player.ended


def guard_of(**changes: Any) -> Guard:
    guard = Guard(GuardConfig(**(BOX | changes)), LIMITS, T, lambda q: np.zeros(3), "python")
    guard.reset(np.zeros(N))
    return guard


@pytest.mark.parametrize("mode", ["reject", "clamp"])
def test_the_guard_takes_grips_of_0_to_1_and_a_little_more(mode: str) -> None:
    guard = guard_of(mode=mode)
    for grip, force, sent in (
        (0.0, NAN, 0.0), (1.0, 0.0, 1.0), (0.3, 140.0, 0.3),
        (-GRIP_SLACK, 20.0, 0.0), (1.0 + GRIP_SLACK, 20.0, 1.0),
    ):  # fmt: skip
        jaws = guard.jaws(grip, force)
        assert (jaws.grip, jaws.finding) == (sent, FINE)
        np.testing.assert_array_equal(jaws.force, force)


OUTSIDE = [
    (1.26, 20.0, 0, 1.26, 1.25, "grip of 1.26, allowed -0.25..1.25 (0 open to 1 closed)",
     (1.0, 20.0)),
    (-7.0, 20.0, 0, -7.0, -0.25, "grip of -7, allowed -0.25..1.25", (0.0, 20.0)),
    (math.inf, NAN, 0, math.inf, 1.25, "grip of inf", (1.0, NAN)),
    (NAN, 20.0, 0, NAN, 1.25, "grip of nan", None),
    (0.5, 51.0, 1, 51.0, 50.0, "grip force of 51 N, allowed 0..50 N ([guard] grip_force_max)",
     (0.5, 50.0)),
    (0.5, -1.0, 1, -1.0, 0.0, "grip force of -1 N", (0.5, 0.0)),
    (0.5, math.inf, 1, math.inf, 50.0, "grip force of inf N", (0.5, 50.0)),
]  # fmt: skip


@pytest.mark.parametrize(("grip", "force", "index", "found", "limit", "words", "clamped"), OUTSIDE)
@pytest.mark.parametrize("mode", ["reject", "clamp"])
def test_the_guard_says_what_is_wrong_with_the_jaws_and_keeps_or_clamps_them(
    mode: str, grip: Any, force: Any, index: int, found: Any, limit: Any, words: str, clamped: Any
) -> None:
    guard = guard_of(mode=mode, grip_force_max=50.0)
    guard.jaws(0.7, 12.0)
    jaws = guard.jaws(grip, force)
    sent = clamped if mode == "clamp" and clamped else (0.7, 12.0)
    np.testing.assert_array_equal((jaws.grip, jaws.force), sent)
    assert jaws.finding.reason is Reason.GRIP
    assert jaws.finding.numbers["index"] == index
    np.testing.assert_array_equal((jaws.finding.found, jaws.finding.limit), (found, limit))
    assert words in jaws.finding.detail
    assert guard.jaws(0.2, NAN).finding is FINE
    guard.reset(np.zeros(N))
    assert guard.jaws(NAN, NAN).grip == 0.0


class Hand:
    """A gripper that remembers what it is told."""

    stroke = 0.08

    def __init__(self) -> None:
        self.told: list[tuple[float, float]] = []

    def command(self, width: float, *, force: float) -> None:
        self.told.append((width, force))


def jaws_of() -> tuple[Any, Jaws]:
    hand: Any = Hand()
    return hand, Jaws(hand, 15.0)


def test_a_binary_grip_opens_or_closes_with_hysteresis() -> None:
    hand, jaws = jaws_of()
    told = []
    for grip in (0.0, 0.5, 0.61, 0.5, 0.41, 0.39, 0.5, 1.0):
        jaws.command(grip, NAN, "binary")
        told.append(len(hand.told))
    assert told == [0, 0, 1, 1, 1, 2, 2, 3]
    assert hand.told == [(0.0, 15.0), (0.08, 15.0), (0.0, 15.0)]


def test_a_force_goes_with_closed_jaws_and_is_sent_again_when_it_changes() -> None:
    hand, jaws = jaws_of()
    for grip, force in ((0.0, 3.0), (1.0, 30.0), (1.0, 30.05), (1.0, 31.0), (0.0, 31.0)):
        jaws.command(grip, force, "binary")
    assert hand.told == [(0.0, 30.0), (0.0, 31.0), (0.08, 15.0)]


def test_a_continuous_grip_is_sent_when_the_width_or_the_force_has_changed() -> None:
    hand, jaws = jaws_of()
    for grip in (0.0, 0.0005, 0.25, 0.2505, 0.5, 0.5):
        jaws.command(grip, NAN, "continuous")
    np.testing.assert_allclose(hand.told, [(0.06, 15.0), (0.04, 15.0)])
    jaws.command(0.5, 20.0, "continuous")
    jaws.command(0.5, 20.05, "continuous")
    np.testing.assert_allclose(hand.told[2:], [(0.04, 20.0)])
