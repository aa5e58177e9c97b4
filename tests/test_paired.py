"""The same orders with two bundles, pair by pair."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from headway import shipped
from headway.errors import ConfigError
from headway.learn import evaluate, paired
from headway.learn.paired import Order, in_words

GIVEN = ("a=A", "b=B")


def test_pairs_are_counted_by_seed_and_only_where_both_have_an_outcome():
    first = {1: True, 2: True, 3: False, 4: False, 5: None, 6: True, 8: False}
    second = {1: True, 2: False, 3: True, 4: False, 5: True, 6: None, 7: True, 8: True}
    found = paired.paired(first, second)
    assert (found.both, found.first, found.second, found.neither) == (1, 1, 2, 1)
    assert found.difference == pytest.approx(1 / 5)
    with pytest.raises(ValueError, match="found none"):
        paired.paired({1: True}, {2: True})


def test_the_interval_is_agrestis_and_mins():
    # n* = 302: (16.5 - 10.5) / n* = 0.019868, +- 1.96 sqrt((27 / n* - 0.019868^2) / n*)
    low, high = paired.Paired(both=210, first=10, second=16, neither=64).interval
    assert (low, high) == pytest.approx((-0.013779, 0.053515), abs=2e-6)
    low, high = paired.Paired(both=2, first=0, second=0, neither=0).interval
    assert low < -0.3  # two pairs alike say next to nothing
    assert high > 0.3
    assert paired.Paired(both=0, first=3, second=0, neither=0).interval[0] == -1.0


def test_words_say_rates_and_pairs():
    orders = [
        Order(name, "m", "w", seed, name == "a" or seed > 0, "done")
        for name in "ab"
        for seed in range(4)
    ]
    said = in_words(orders, ("a", "b"))
    assert "a: 4 of 4 orders done, 100.0 %" in said
    assert "b: 3 of 4 orders done, 75.0 %" in said
    assert "4 pairs: 3 done by both, 0 by neither, 1 by a alone, 0 by b alone: -25.0 points" in said


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two bundles, of which seed 3 is an order that only the first one does; returns the orders
    that were run, as name of the folder and seed."""
    ran = []
    for name in ("first", "second"):
        shutil.copytree(shipped.ROOT / "models" / "workflows", tmp_path / name)

    def run(settings, seeds, workers):
        folder = settings.policy["bundle"].rpartition("/")[2]
        for seed in seeds:
            ran.append((folder, seed))
            if len(ran) == run.stop:
                raise KeyboardInterrupt
            good = folder == "first" or seed != 3
            yield SimpleNamespace(
                seed=seed,
                result=SimpleNamespace(success=good, end="done" if good else "time limit"),
            )

    run.stop = None
    monkeypatch.setattr(evaluate, "run", run)
    monkeypatch.setattr(paired, "TURN", 2)
    given = (f"fp32={tmp_path / 'first'}", f"int8={tmp_path / 'second'}")
    return SimpleNamespace(given=given, out=tmp_path / "runs" / "orders.jsonl", ran=ran, run=run)


def test_bundles_take_turns_and_a_run_that_was_interrupted_goes_on(two, capsys):
    two.run.stop = 6
    with pytest.raises(KeyboardInterrupt):
        paired.main(two.given, "pick_place", two.out, orders=4, seed=0)
    assert two.ran[:4] == [("first", 0), ("first", 1), ("second", 0), ("second", 1)]
    with two.out.open("ab") as f:
        f.write(b'{"name":"fp32","mod')  # the power went while it was written
    two.ran.clear()
    two.run.stop = None
    paired.main(two.given, "pick_place", two.out, orders=4, seed=0)
    assert two.ran == [("first", 3), ("second", 2), ("second", 3)]
    assert len(two.out.read_bytes().splitlines()) == 8
    assert "3 done by both, 0 by neither, 1 by fp32 alone" in capsys.readouterr().out


def test_a_file_of_other_orders_is_not_gone_on_with(two):
    paired.main(two.given, "pick_place", two.out, orders=1, seed=0)
    with pytest.raises(ConfigError, match="has an order of pick_place by fp32"):
        paired.main(two.given, "returns", two.out, orders=1, seed=0)
    with pytest.raises(ConfigError, match="not among these bundles"):
        paired.main(
            (two.given[0], two.given[1].replace("int8", "fp16")), "pick_place", two.out, orders=1
        )
    two.out.write_text("{}\n")
    with pytest.raises(ConfigError, match="wanted an order in each line"):
        paired.main(two.given, "pick_place", two.out, orders=1)


@pytest.mark.parametrize("given", [("a=A",), ("a=A", "a=B"), ("a=A", "b"), ("a=A", "=B")])
def test_bundles_that_are_not_named_are_refused(given):
    with pytest.raises(ConfigError, match="wanted"):
        paired.bundles(given)


@pytest.mark.parametrize("text", ['{"important": 1}', "a,b\n1,2", '{"name": "mine"}'])
def test_a_file_of_something_else_is_refused_and_stays_as_it_is(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="wanted an order in each line"):
        paired.kept(path)
    assert path.read_text() == text
