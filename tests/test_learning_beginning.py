"""What units of several arms begin with: made once, by whoever comes first, and the same as if each
had made it alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import msgspec
import pytest

pytest.importorskip("torch", reason="wants headway[learn]")

from learning_fakes import FakeSite, Killed
from test_learning_unit import HOW, learner, unit

from headway.learn import files
from headway.learn.execution.settings import Demonstrations
from headway.learn.study.units import Test

BEGINS = [*(("demonstrator", 100 + i) for i in range(4)), *(("policy", 9000 + i) for i in range(3))]


def of_folder(folder):
    """Contents of all files in `folder`, by name."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "lock"
    }


def test_arms_share_it_and_find_what_they_find_alone(tmp_path):
    shared = tmp_path / "shared"
    for at, arm in enumerate(("B0", "1.5", "attempts")):
        alone, site = learner(tmp_path / "alone" / arm, arm)
        wanted = alone.result()
        made, sharing = learner(tmp_path / "units" / arm, arm, shared=shared)
        assert made.result() == wanted
        assert site.ran[: len(BEGINS)] == BEGINS
        assert sharing.ran == (site.ran if at == 0 else site.ran[len(BEGINS) :])
        assert [o.round for o in wanted.orders].count(0) == 3  # a unit's results are all there
        mine, others = of_folder(tmp_path / "units" / arm), of_folder(tmp_path / "alone" / arm)
        assert mine == {n: x for n, x in others.items() if not n.startswith("begun")}
    (place,) = shared.iterdir()
    own = of_folder(tmp_path / "alone" / "B0" / "begun")
    both = of_folder(place)
    assert own.items() <= both.items()
    assert both.keys() - own.keys() == {f"demonstrations/{i:04d}.npz" for i in range(4)}


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_one_that_was_left_is_gone_on_with_by_another_arm(tmp_path, stop):
    first, site = learner(tmp_path / "a", "1.5", site=FakeSite(stop), shared=tmp_path / "shared")
    with pytest.raises(Killed):
        first.result()
    made, second = learner(tmp_path / "b", "B0", shared=tmp_path / "shared")
    found = made.result()
    assert (site.ran + second.ran)[: len(BEGINS)] == BEGINS
    assert found == learner(tmp_path / "alone", "B0")[0].result()


def test_a_unit_that_is_killed_while_it_shares_ends_as_if_it_had_not_been(tmp_path):
    wanted = learner(tmp_path / "whole", "1.5")[0].result()
    for stop in range(1, 200):
        made, _ = learner(
            tmp_path / "killed", "1.5", site=FakeSite(stop % 4 or 1), shared=tmp_path / "shared"
        )
        try:
            found = made.result()
        except Killed:
            continue
        break
    assert found == wanted


def test_without_the_shared_folder_it_is_made_again(tmp_path):
    made, _ = learner(tmp_path / "unit", "1.5", site=FakeSite(9), shared=tmp_path / "here")
    with pytest.raises(Killed):
        made.result()
    made, site = learner(tmp_path / "unit", "1.5", shared=tmp_path / "elsewhere")
    found = made.result()
    assert site.ran[: len(BEGINS)] == BEGINS
    assert found == learner(tmp_path / "alone", "1.5")[0].result()


@pytest.mark.parametrize(
    "change",
    [
        {"demonstrations": Demonstrations(orders=3)},
        {"clone": msgspec.structs.replace(HOW.clone, steps=31)},
        {"mix": msgspec.structs.replace(HOW.mix, demonstration=0.9)},
        {"workflow": {"items": 3}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_with_other_settings_it_is_another_one(tmp_path, change):
    def name(how=HOW, of=None, site=None):
        made, _ = learner(tmp_path / str(len(list(tmp_path.iterdir()))), how=how, of=of, site=site)
        return made.beginning.name

    usual = name()
    assert name(msgspec.structs.replace(HOW, **change)) != usual
    # What comes after the beginning, on the other hand, is nothing to it.
    assert name(msgspec.structs.replace(HOW, temperature=0.7, base="elsewhere")) == usual
    assert name(of=unit("B0", rounds=3, robot_s=50.0)) == usual
    one = Test(round=0, suite="main", first=9000, orders=2)
    for more in ({"train_first": 101}, {"seed": 4}, {"tests": (one,)}, {"workflow": "other"}):
        assert name(of=msgspec.structs.replace(unit(), **more)) != usual
    site = FakeSite()
    site.made_of = {"workflow": "changed"}
    assert name(site=site) != usual


FIRST = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from learning_fakes import FakeSite, Killed
from test_learning_unit import learner
made, _ = learner(Path(sys.argv[2]) / "first", "B0", site=FakeSite(3), shared=Path(sys.argv[3]))
from headway.learn.execution import episodes
save = episodes.store.save_lesson
def hang(path, lesson):
    save(path, lesson)
    if path.name == "0001.npz":
        print("here", flush=True)
        signal.pause()
episodes.store.save_lesson = hang
made.result()
"""


def test_the_second_waits_says_so_and_takes_over_when_the_first_is_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    shared = tmp_path / "shared"
    first = subprocess.Popen(
        [sys.executable, "-c", FIRST, os.path.dirname(__file__), tmp_path, shared],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert first.stdout.readline() == "here\n"
        said = []

        def told(note):
            if note.waits:
                said.append(note.doing)
                first.send_signal(signal.SIGKILL)

        made, site = learner(tmp_path / "second", "1.5", shared=shared, told=told)
        found = made.result()
    finally:
        first.kill()
        first.communicate()
    (words,) = said
    assert words.startswith(f"waiting for B0_made_up_3, process {first.pid} on ")
    assert site.ran[: len(BEGINS) - 2] == BEGINS[2:]
    assert found == learner(tmp_path / "alone", "1.5")[0].result()


def test_a_folder_is_waited_for_only_if_that_is_wanted(tmp_path):
    """The holder of the folder is this process, through another file descriptor."""
    held = files.alone(tmp_path, "it", by="the first, ")
    held.__enter__()
    said = []

    def wait(who):
        said.append(who)
        held.__exit__(None, None, None)

    with files.alone(tmp_path, "it", wait=wait):
        assert said == [f"the first, process {os.getpid()} on {os.uname().nodename}"]
