"""Orders of a workflow, run to see how a policy does."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from headway import shipped
from headway.edge.control.result import Result
from headway.errors import ConfigError
from headway.learn import evaluate

CLONED = shipped.ROOT / "models" / "workflows_cloned"


def test_a_workflow_is_run_with_another_policy_and_other_keys_of_its_scene():
    made = evaluate.settings_of("pick_place", CLONED, {"novel": True}, candidates=2)
    assert made.policy is not None
    assert made.policy["bundle"] == str(CLONED.resolve())
    assert made.policy["candidates"] == 2
    assert "critic" not in made.policy
    assert made.cell is not None
    assert made.cell["scene_config"]["novel"] is True
    assert made.cell["scene_config"]["lines_min"] == 2
    assert made.pro is None


def test_noise_is_what_the_workflow_says_unless_it_is_said_or_there_is_none():
    for workflow, bundle, given, wanted in (
        ("shoebox", CLONED, None, 0.0),
        ("shoebox", CLONED, 0.5, 0.5),
        ("shoebox", CLONED.parent / "pick_place_policy", None, None),
        ("pick_place", CLONED, None, None),
    ):
        made = evaluate.settings_of(workflow, bundle, {}, noise=given)
        assert made.policy is not None
        assert made.policy.get("noise") == wanted


def test_keys_that_are_no_toml_and_workflows_that_there_are_not_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--scene is not valid TOML"):
        evaluate.main(tmp_path, "pick_place", scene=("novel=yes",))
    with pytest.raises(ConfigError, match="wanted a workflow"):
        evaluate.settings_of("pick_plaice", tmp_path, {})


def test_an_order_that_the_policy_refuses_is_not_done_and_the_others_go_on():
    pytest.importorskip("mujoco", reason="wants headway[sim]")
    pytest.importorskip("tokenizers", reason="wants headway[text]")
    scene = {"instruction": "sing a song about totes"}
    with evaluate.Tested(evaluate.settings_of("pick_place", CLONED, scene)) as runner:
        made = runner.episode(3)
        again = runner.episode(4)
    assert (made.result.end, made.result.success, made.seed) == ("refused", False, 3)
    assert "say it in other words" in made.result.why
    assert len(made.rows) == len(made.decisions) == 0
    assert again.seed == 4
    assert "success 0/2" in evaluate.in_words([made, again])
    assert "ends: 2 refused" in evaluate.in_words([made, again])


def test_what_was_found_is_written_into_a_folder_that_is_made(tmp_path, monkeypatch):
    result = Result(
        end="done", success=True, seconds=2.0, ticks=9, retries=0, rejected=0, missed=0,
        peak_force=3.0, reward=0.0,
    )  # fmt: skip
    made = [SimpleNamespace(seed=s, result=result, events=()) for s in (8, 7)]
    monkeypatch.setattr(evaluate, "run", lambda *given: iter(made))
    out = tmp_path / "runs" / "orders.jsonl"
    evaluate.main(CLONED, "pick_place", orders=2, seed=7, out=out)
    assert [json.loads(line)["seed"] for line in out.read_text().splitlines()] == [7, 8]
