"""Orders of a workflow, run to see how a policy does."""

from __future__ import annotations

import pytest

from headway.errors import ConfigError
from headway.learn import evaluate


def test_a_workflow_is_run_with_another_policy_and_other_keys_of_its_scene(tmp_path):
    made = evaluate.settings_of("pick_place", tmp_path, {"novel": True}, candidates=2)
    assert made.policy is not None
    assert made.policy["bundle"] == str(tmp_path)
    assert made.policy["candidates"] == 2
    assert "critic" not in made.policy
    assert made.cell is not None
    assert made.cell["scene_config"]["novel"] is True
    assert made.cell["scene_config"]["lines_min"] == 2
    assert made.pro is None


def test_keys_that_are_no_toml_and_workflows_that_there_are_not_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--scene is not valid TOML"):
        evaluate.main(tmp_path, "pick_place", scene=("novel=yes",))
    with pytest.raises(ConfigError, match="wanted a workflow"):
        evaluate.settings_of("pick_plaice", tmp_path, {})
