"""Whole units on made-up executions: what they do, and that they can be killed at any moment."""

from __future__ import annotations

import msgspec
import pytest

pytest.importorskip("torch", reason="wants headway[learn]")

import torch
from learning_fakes import FakeBase, FakeSite, Killed

from headway.errors import ConfigError
from headway.learn.execution import unit as unit_module
from headway.learn.execution.arms import ARMS
from headway.learn.execution.critic import CriticFit
from headway.learn.execution.extraction import CloneFit, HeadFit
from headway.learn.execution.gate import Gate
from headway.learn.execution.outcome import OutcomeFit
from headway.learn.execution.process import ProcessFit
from headway.learn.execution.regression import Regression
from headway.learn.execution.settings import Demonstrations, Learning
from headway.learn.execution.unit import Learner
from headway.learn.study.units import Test, Unit, check

torch.set_num_threads(1)
SHORT = Regression(steps=10, width=16)
HOW = Learning(
    base="", arm=ARMS["1.6"], demonstrations=Demonstrations(orders=4),
    process=ProcessFit(steps=6, pieces=4), outcome=OutcomeFit(steps=20, members=2), baseline=SHORT,
    critic=CriticFit(fit=SHORT), clone=CloneFit(steps=30), head=HeadFit(steps=30),
)  # fmt: skip


def unit(arm="attempts", rounds=2, robot_s=40.0):
    tests = [Test(round=r, suite="main", first=9000, orders=3) for r in (0, rounds)]
    return Unit(
        arm=arm, workflow="made_up", seed=3, rounds=rounds, robot_s=robot_s, slack_s=20.0,
        train_first=100, train_count=3000, tests=tuple(tests),
    )  # fmt: skip


def learner(folder, arm="attempts", how=HOW, site=None, of=None, told=None, shared=None):
    how = msgspec.structs.replace(how, arm=ARMS[arm])
    site, base = site or FakeSite(), FakeBase(folder / "base")
    told = told or (lambda note: None)
    return Learner(of or unit(arm), folder, told, how, base, site, shared), site


@pytest.mark.parametrize(
    "arm", ["B0", "1.5-n4", pytest.param("1.6", marks=pytest.mark.slow), "attempts"]
)
def test_an_arm_learns_and_is_tested_as_the_unit_says(arm, tmp_path):
    notes = []
    made, site = learner(tmp_path, arm, told=notes.append)
    found = made.result()
    check(unit(arm), found)
    drivers = [who for who, _ in site.ran]
    assert drivers[:7] == ["demonstrator"] * 4 + ["policy"] * 3
    during = "demonstrator" if arm == "B0" else "oracle"
    assert set(drivers[7:-3]) == {during}
    assert all(r.robot_s >= 40.0 for r in found.rounds)
    seeds = [seed for who, seed in site.ran if who == during]
    assert len(seeds) == len(set(seeds))
    if arm == "B0":
        assert all(r.operator_s == r.robot_s for r in found.rounds)  # all of it is demonstrated
        assert made.base.saved == [
            "made_up, seed 3, clone", *(f"{made.unit.name}, round {r}" for r in (1, 2))
        ]  # fmt: skip
    else:
        assert all(r.operator_s <= 40.0 * HOW.oracle.share + 10 for r in found.rounds)
        assert (tmp_path / "round-2" / "critic").exists() == (arm == "1.5-n4")
        assert not (tmp_path / "round-1" / "policy").exists()  # nothing asks for it any more
    assert (tmp_path / "pro").exists() == (arm == "1.6")
    assert [n.share for n in notes] == sorted(n.share for n in notes)
    assert not list(tmp_path.glob("round-*/episodes"))
    assert not (tmp_path / "begun" / "demonstrations").exists()


def test_a_unit_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
    made, site = learner(tmp_path / "whole", "1.5-n4")
    wanted, whole = made.result(), list(site.ran)
    ran = []
    for stop in range(1, len(whole) + 5):
        made, site = learner(tmp_path / "killed", "1.5-n4", site=FakeSite(stop % 4 or 1))
        try:
            found = made.result()
        except Killed:
            ran += site.ran
            continue
        ran += site.ran
        break
    assert found == wanted
    assert ran == whole  # each episode once, in the same order
    again, site = learner(tmp_path / "killed", "1.5-n4")
    assert again.result() == wanted
    assert site.ran == []


def test_a_unit_that_is_killed_after_its_pro_does_not_teach_it_twice(tmp_path, monkeypatch):
    taught = []
    real = unit_module.save_head
    monkeypatch.setattr(unit_module, "save_head", lambda *a: taught.append(a[0].name) or real(*a))
    of = unit("1.6", rounds=1, robot_s=20.0)
    made, _ = learner(tmp_path, "1.6", of=of)

    def killed(head, out, note):
        if note.endswith("round 1"):
            raise Killed
        FakeBase.save(made.base, head, out, note)

    made.base.save = killed
    with pytest.raises(Killed):
        made.result()
    assert taught == ["pro"]
    before = (tmp_path / "pro" / "bundle.json").read_bytes()
    learner(tmp_path, "1.6", of=of)[0].result()
    assert taught == ["pro"]
    assert (tmp_path / "pro" / "bundle.json").read_bytes() == before


def test_the_oracle_has_what_is_left_of_the_rounds_budget(tmp_path):
    made, site = learner(tmp_path)
    made.result()
    left = [x for x, (who, _) in zip(site.left, site.ran, strict=True) if who == "oracle"]
    most = 40.0 * HOW.oracle.share
    assert left[0] == pytest.approx(most)
    assert all(0.0 <= x <= most for x in left)
    assert min(left) < most


def test_a_unit_that_was_begun_with_something_else_is_not_gone_on_with(tmp_path):
    made, _ = learner(tmp_path, site=FakeSite(5))
    with pytest.raises(Killed):
        made.result()
    other = msgspec.structs.replace(HOW, temperature=0.5)
    with pytest.raises(ConfigError, match="other settings"):
        learner(tmp_path, how=other)
    with pytest.raises(ConfigError, match="other unit"):
        learner(tmp_path, of=unit(robot_s=50.0))


def test_a_torn_line_of_tests_is_run_again(tmp_path):
    made, site = learner(tmp_path, site=FakeSite(6))  # two test orders are done
    with pytest.raises(Killed):
        made.result()
    path = tmp_path / "begun" / "tests" / "0-main.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    made, site = learner(tmp_path)
    check(made.unit, made.result())
    assert [seed for _, seed in site.ran][:2] == [9001, 9002]


def test_the_gate_gives_part_of_a_round_to_the_new_policy(tmp_path):
    how = msgspec.structs.replace(HOW, gate=Gate(share=0.4))
    made, site = learner(tmp_path, how=how)
    found = made.result()
    check(made.unit, found)
    seeds = [seed for who, seed in site.ran if who == "oracle"]
    assert len(seeds) == len(set(seeds))
    never = msgspec.structs.replace(HOW, gate=Gate(share=0.4, tolerance=-100.0))
    made, site = learner(tmp_path / "never", how=never)
    found = made.result()
    assert [r.accepted for r in found.rounds] == [False, False]
    assert (tmp_path / "never" / "begun" / "clone").exists()


def test_too_few_seeds_are_an_error_before_anything_runs(tmp_path):
    few = msgspec.structs.replace(unit(), train_count=9)
    with pytest.raises(ConfigError, match=r"seeds\.per_unit"):
        learner(tmp_path, of=few)


def test_a_scene_whose_physics_blows_up_teaches_nothing_and_is_an_order_not_done(tmp_path):
    of = unit("1.5")
    demonstration, first = of.train_first + 1, of.tests[-1].first
    killed = FakeSite(fail_after=4)
    killed.unstable = {demonstration}
    with pytest.raises(Killed):
        learner(tmp_path, "1.5", site=killed)[0].result()
    site = FakeSite()  # where that one would be stable: what was passed over stays so
    site.unstable = {first}
    found = learner(tmp_path, "1.5", site=site)[0].result()
    check(of, found)
    tried = [seed for who, seed in [*killed.ran, *site.ran] if who == "demonstrator"]
    assert tried == [of.train_first + k for k in range(HOW.demonstrations.orders + 1)]
    for order in found.orders:
        assert (order.lines == 0) == (order.seed == first)
        assert not (order.success and order.seed == first)
