"""The same units and parts on a Ray cluster of this computer."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from study_fake import write_plan

from headway.errors import DeviceError
from headway.learn.executors import on_ray
from headway.learn.executors.executor import Done, Failed, Lost, Told, scatter
from headway.learn.study import plan, results
from headway.learn.study.run import Show, run

pytest.importorskip("ray", reason="wants Ray: pip install 'headway[ray]'")
pytestmark = [
    pytest.mark.slow,  # a cluster starts in five to ten seconds
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its sockets and of what is to come
]


def until_outcome(executor):
    news = []
    while not any(isinstance(n, Done | Failed | Lost) for n in news):
        news += executor.wait(30.0)
    return news


def die(tell):
    tell("here")
    os.kill(os.getpid(), signal.SIGKILL)


def raise_it(tell):
    raise ValueError("no such number")


class Killed:
    """Twice the item; the process of the first 3 is killed."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, x):
        if x == 3 and not (mark := Path(self.folder) / "killed").exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * x


def test_units_and_parts_run_there_and_lost_ones_go_on(tmp_path):
    path = write_plan(tmp_path, 1, learn='trouble = [["kill", "1.5_pick_place_1", 1]]')
    made = [u for u in plan.units(plan.load(path)) if u.workflow == "pick_place"][:2]
    with on_ray.connect(on_ray.LOCAL, slots=2) as executor:
        assert executor.slots == 2
        state = run(
            made, runner="study_fake:fake", study="fake", registration="5ha",
            out=tmp_path / "results", work=tmp_path / "work", executor=executor, show=Show(),
        )  # fmt: skip
        assert len(state.done) == 2
        assert len(results.finished(tmp_path / "results", "5ha", made)) == 2
        assert [p.name for p in (tmp_path / "work" / "shared").iterdir()] == ["pick_place_1"]
        worked = (tmp_path / "work" / made[1].name / "worked.txt").read_text().split()
        assert worked == ["0", "1", "1", "2"]  # the round in which it was killed, once more

        found = dict(scatter(executor, Killed(str(tmp_path)), [1, 2, 3, 4]))
        assert found == {0: 2, 1: 4, 2: 6, 3: 8}
        assert (tmp_path / "killed").exists()

        executor.start("dies", die)
        news = until_outcome(executor)
        assert isinstance(news[-1], Lost)
        assert Told("dies", "here") in news or len(news) == 1  # what it told may be lost with it
        executor.start("raises", raise_it)
        failed = until_outcome(executor)[-1]
        assert failed.error == "ValueError: no such number"
        assert "raise_it" in failed.trace


def test_a_node_that_is_lost_takes_no_result_with_it(tmp_path, monkeypatch):
    """Two nodes on this computer; the one that works is killed."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        node = cluster.add_node(num_cpus=1)
        with on_ray.connect(cluster.address, slots=1) as executor:
            executor.start("first", Waits(str(tmp_path)))
            news = []
            while Told("first", "here") not in news:
                news += executor.wait(30.0)
            cluster.remove_node(node, allow_graceful=False)
            news = until_outcome(executor)
            assert isinstance(news[-1], Lost), news
            cluster.add_node(num_cpus=1)
            executor.start("first", Waits(str(tmp_path)))
            assert until_outcome(executor)[-1] == Done("first", "second time")
    finally:
        cluster.shutdown()


class Waits:
    """Waits for ever the first time."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, tell):
        if (mark := Path(self.folder) / "been here").exists():
            return "second time"
        mark.write_text("")
        tell("here")
        signal.pause()
        return "never"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere", "a:b"])
def test_where_no_cluster_is_that_is_said(address):
    with pytest.raises(DeviceError, match=f"wanted a Ray cluster at {address} .*found none"):
        on_ray.connect(address)
