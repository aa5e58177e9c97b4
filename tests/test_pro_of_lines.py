"""PRO's heads that tell of the line of an order that is due: the reward begins anew with each line,
in the loop and in a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray

pytest.importorskip("mujoco", reason="wants headway[sim]")

from workflow_rig import settings_of

from headway import bundle, shipped
from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.events import EventKind
from headway.edge.control.runner import record_episode
from headway.edge.control.settings import ProConfig
from headway.edge.control.station import Station
from headway.edge.pro.operator import SETTLED_S
from headway.kernels.telemetry import Scale
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of
from headway.tools.replay.head import signals_of
from headway.tools.replay.replay import replay

PRO = shipped.ROOT / "models" / "workflows_pro" / "shoebox"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An order of two boxes by the scripted expert, with the shipped head of shoeboxes."""
    out: Path = tmp_path_factory.mktemp("order") / "order.mcap"
    settings = settings_of("shoebox", lines_max=2)
    settings = structs.replace(settings, pro=ProConfig(bundle=str(PRO)))
    clock = VirtualClock(1)
    with Station(settings, clock) as station:
        built = Built(settings, station, clock)
        result = record_episode(built.loop, 3_000_000, out, metadata=built.facts)
        built.close()
    assert result.success
    return out


def begun(recording: Any) -> NDArray[np.int64]:
    """When lines became due [ns]."""
    events = events_of(recording)
    return np.array([e.t_ns for e in events if e.kind is EventKind.LINE_BEGUN], np.int64)


def test_the_reward_begins_anew_with_each_line(recording: Path) -> None:
    log = open_recording(recording)
    pro, lines = log.rows("/pro"), begun(log)
    assert len(lines) == 2
    at = int(np.searchsorted(pro["t_ns"], lines[1]))
    settled = at + round(SETTLED_S * 25.0)
    assert pro["time_to_go"][settled] - pro["time_to_go"][at - 1] > 3.0
    assert (pro["reward"][at:settled] == 0.0).all()
    assert pro["reward"][settled] != 0.0
    head = bundle.load(PRO)
    scale = Scale.from_json(log.metadata["scale"], "test")
    rates = (float(log.metadata["hz"]), float(log.metadata["pro_hz"]))
    again = signals_of(head, pro, lines, scale, *rates)
    assert np.array_equal(again["reward"], pro["reward"])
    without = signals_of(head, pro, lines[:0], scale, *rates)
    changed = np.flatnonzero(without["reward"] != pro["reward"])
    first = range(1, settled - at)  # the first step of an episode has no reward in any case
    assert changed.tolist() == [*first, *range(at, settled)]
    assert without["reward"][at:settled].sum() < -3.0


def test_a_replay_of_an_order_is_equal_to_the_bit(recording: Path) -> None:
    assert not replay(recording, PRO).differences
