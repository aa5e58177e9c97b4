"""Heads that learn otherwise from the same executions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch", reason="wants headway[learn]")

import torch
from learning_fakes import FakeBase, FakeSite, Head, Killed
from test_learning_unit import HOW, learner, unit

from headway.errors import ConfigError, RecordingError
from headway.learn import variants
from headway.learn.execution import store
from headway.learn.execution.arms import ARMS
from headway.learn.execution.extraction import CloneFit, HeadFit, Mix
from headway.learn.study.units import Order, Test
from headway.learn.variants import Variant, executions, variants_of

torch.set_num_threads(1)
KEPT = msgspec.structs.replace(HOW, arm=ARMS["attempts"], keep=True)
ROUNDS = 2


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a unit that has ended and kept its executions."""
    folder = tmp_path_factory.mktemp("unit")
    learner(folder, "attempts", KEPT)[0].result()
    return folder


def variant(folder, out, how=KEPT, orders=3, clones=False):
    test = Test(round=ROUNDS, suite="main", first=9000, orders=orders)
    return Variant("v", folder, out, "made_up", how, clones, unit().seed, test)


def made(x, site=None):
    site = site or FakeSite()
    return x.made(lambda note: None, FakeBase(x.out / "base"), site), site


def weights(path):
    return store.load_weights(path, Head()).state_dict()


def alike(a, b):
    return all(torch.equal(a[n], b[n]) for n in a)


def test_without_a_change_it_is_the_head_that_the_unit_ended_with(ended, tmp_path):
    found, site = made(variant(ended, tmp_path))
    assert alike(weights(tmp_path / "policy/head.pt"), weights(ended / "round-2/policy/head.pt"))
    tests = store.lines(ended / "tests/2-main.jsonl", Order)
    assert found == tests
    assert site.ran == [("policy", o.seed) for o in tests]


def test_without_steps_it_is_the_clone(ended, tmp_path):
    made(variant(ended, tmp_path, msgspec.structs.replace(KEPT, head=HeadFit(steps=0))))
    assert alike(weights(tmp_path / "policy/head.pt"), weights(ended / "begun/clone/head.pt"))


def test_other_settings_make_another_head_from_the_same_clone(ended, tmp_path):
    how = msgspec.structs.replace(KEPT, mix=Mix(correction=0.0, top=0.0))
    made(variant(ended, tmp_path, how))
    mine = weights(tmp_path / "policy/head.pt")
    assert not alike(mine, weights(ended / "round-2/policy/head.pt"))
    # What the executions of the policy were worth makes no difference to demonstrations alone.
    other = msgspec.structs.replace(how, arm=ARMS["clock"])
    made(variant(ended, tmp_path / "other", other))
    assert alike(mine, weights(tmp_path / "other/policy/head.pt"))


def test_another_draw_is_another_training_of_the_same(ended, tmp_path):
    made(variant(ended, tmp_path / "one"))
    made(dataclasses.replace(variant(ended, tmp_path / "two"), draw=1))
    assert not alike(*(weights(tmp_path / n / "policy/head.pt") for n in ("one", "two")))


def test_a_variant_with_a_clone_of_its_own_clones_as_the_unit_did(ended, tmp_path):
    still = msgspec.structs.replace(KEPT, head=HeadFit(steps=0))
    made(variant(ended, tmp_path / "same", still, clones=True))
    first = weights(tmp_path / "same/policy/head.pt")
    assert alike(first, weights(ended / "begun/clone/head.pt"))
    longer = msgspec.structs.replace(still, clone=CloneFit(steps=60))
    made(variant(ended, tmp_path / "longer", longer, clones=True))
    assert not alike(first, weights(tmp_path / "longer/policy/head.pt"))


def test_it_goes_on_where_it_was(ended, tmp_path):
    whole, _ = made(variant(ended, tmp_path / "whole", orders=6))
    site = FakeSite(fail_after=4)
    with pytest.raises(Killed):
        made(variant(ended, tmp_path / "part", orders=6), site)
    found, again = made(variant(ended, tmp_path / "part", orders=6))
    assert found == whole
    assert len(again.ran) == 2


def test_a_folder_of_other_settings_is_refused(ended, tmp_path):
    made(variant(ended, tmp_path))
    with pytest.raises(ConfigError, match="settings"):
        made(variant(ended, tmp_path, msgspec.structs.replace(KEPT, mix=Mix(top=0.5))))


def test_a_unit_that_kept_nothing_is_refused(tmp_path):
    learner(tmp_path, "attempts")[0].result()
    with pytest.raises(ConfigError, match=r"found 0 demonstrations and 0 rollouts.*keep = true"):
        executions(tmp_path)


UNIT = """
base = "base"
workflow = "pick_place"
arm = "1.6"
seed = 7
rounds = 3
out = "out"
[learn]
demonstrations = { orders = 5 }
mix = { correction = 5.0 }
"""


def files_of(folder: Path, changes: str, unit_text: str = UNIT):
    (folder / "unit.toml").write_text(unit_text)
    (folder / "variants.toml").write_text(changes)
    return folder / "unit.toml", folder / "variants.toml"


def test_what_a_variant_does_not_change_is_the_units(tmp_path):
    given = files_of(
        tmp_path,
        'orders = 9\n[variants.a]\n[variants.b]\nmix = { top = 0.0 }\narm = "1.5"\n'
        "[variants.c]\nclone = { steps = 7 }\ndraw = 2\n",
    )
    a, b, c = variants_of(*given)
    assert (a.name, a.how.arm, a.how.mix) == ("a", ARMS["1.6"], Mix(correction=5.0))
    assert (b.how.arm, b.how.mix) == (ARMS["1.5"], Mix(correction=5.0, top=0.0))
    assert [(x.clones, x.draw) for x in (a, b, c)] == [(False, 0), (False, 0), (True, 2)]
    assert (c.how.clone.steps, c.how.demonstrations.orders) == (7, 5)
    assert {x.test.orders for x in (a, b, c)} == {9}
    assert {x.out for x in (a, b, c)} == {tmp_path / "out/variants" / n for n in "abc"}


@pytest.mark.parametrize(
    ("changes", "unit_text", "said"),
    [
        ("orders = 5\n[variants]\n", UNIT, "at least one"),
        ("[variants.a]\nmax = { top = 0.0 }\n", UNIT, r"variant a.*max"),
        ('[variants.a]\narm = "1.7"\n', UNIT, "1.7"),
        (
            "[variants.a]\n",
            UNIT.replace('workflow = "pick_place"', 'recordings = ["x"]'),
            "workflow",
        ),
        ("orders = 0\n[variants.a]\n", UNIT, "orders"),
        ("[variants.a]\ndraw = -1\n", UNIT, r"variant a.*draw"),
    ],
)
def test_what_does_not_fit_is_said(changes, unit_text, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        variants_of(*files_of(tmp_path, changes, unit_text))


@dataclass(frozen=True)
class Call:
    """Something to run that tells its orders, or what is wrong."""

    out: Path
    good: int

    def __call__(self, tell):
        if self.good < 0:
            raise ConfigError("nothing is there")
        return [
            Order(
                round=1, suite="main", seed=k, success=k < self.good, lines=2, closed=1, failed=3,
                injected=False, peak_n=1.0, seconds=2.0,
            )
            for k in range(10)
        ]  # fmt: skip


def test_heads_are_compared_on_the_same_orders(tmp_path, capsys):
    calls = {n: Call(tmp_path / n, g) for n, g in (("first", 4), ("second", 6))}
    found = variants.run(calls, workers=2)
    assert "second: 6 of 10 orders right" in capsys.readouterr().out
    shown = variants.table({n: found[n] for n in calls}, "both")
    columns = [list(c.cells) for c in shown.columns]
    assert columns[0] == ["first", "second"]
    assert columns[1] == ["4 of 10", "6 of 10"]
    assert columns[3] == ["", "+20.0 (-10.0 to +43.3)"]  # Agresti and Min for 0 and 2 of 10
    assert columns[5] == ["1.50", "1.50"]


def test_a_head_that_cannot_be_made_ends_it_with_its_reason(tmp_path):
    with pytest.raises(RecordingError, match=r"second.*nothing is there"):
        variants.run({"second": Call(tmp_path / "second", -1)}, workers=1)
