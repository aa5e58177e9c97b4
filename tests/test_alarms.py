"""`headway pro alarms`: thresholds by false-alarm rate, from a calibration or own recordings."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from null_robot import make_policy, make_pro, null_table, run, toml
from pro_head import make_head
from rich.console import Console

from headway import config
from headway.__main__ import main
from headway.config import tomllib
from headway.edge.control.result import Result
from headway.edge.control.settings import Settings
from headway.edge.pro import risk
from headway.edge.pro.risk import Calibration
from headway.errors import ConfigError, RecordingError, SpecMismatch
from headway.kernels import spec
from headway.tools.alarms import alarms_command, calibrate, section, table

GOAL = {"x": 0.4, "y": 0.0, "z": 0.3}
TASK = {"kind": "open_ended", "limit_s": 1.0, "goal": GOAL, "within_m": 9.0, "hold_s": 0.1}


def made(n: int, **changes: Any) -> Calibration:
    facts: dict[str, Any] = {
        "kind": "risk", "pro": "tiny", "pro_sha256": "a" * 64, "policy_sha256": "", "data": "logs",
        "peaks": tuple(i / 100 for i in range(1, n + 1)), "episodes": n + 5, "date": "2026-01-01",
    }  # fmt: skip
    return Calibration(**{**facts, **changes})


def lines(calibration: Calibration, *alpha: float) -> list[str]:
    console = Console(width=120, file=io.StringIO())
    console.print(table(calibration, alpha))
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def configured(path: Path, **changes: Any) -> Path:
    table = null_table(task=TASK, **changes)
    path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
    return path


def recording(success, peak, end="time limit", **facts):
    """What `calibrate` looks at in a recording."""
    rows = np.zeros(4, [("risk", float)])
    rows["risk"][2] = peak
    result = Result(
        end=end, success=success, seconds=1.0, ticks=4, retries=0, rejected=0, missed=0,
        peak_force=0.0, reward=0.0,
    )  # fmt: skip
    return SimpleNamespace(
        path="e.mcap",
        metadata={"pro": "tiny", "pro_sha256": "a" * 64, "policy_sha256": "b" * 64, **facts},
        topics=("/pro", "/result"),
        rows=lambda topic: rows,
        decoded=lambda topic: [(0, msgspec.to_builtins(result))],
    )


def test_a_calibration_holds_the_peaks_of_the_successes():
    logs = [recording(True, 0.3), recording(False, 0.9), recording(True, 0.1), recording(None, 0.5)]
    # what older versions wrote for an episode that was asked to end
    logs += [recording(False, 0.7, "interrupted"), recording(True, 0.8, "interrupted")]
    found = calibrate(logs, "four")
    assert found.peaks == (0.1, 0.3)
    assert (found.episodes, found.pro_sha256, found.policy_sha256) == (3, "a" * 64, "b" * 64)
    assert (found.of, found.behind) == ("successes", "2 successes of 3 episodes")
    assert (found.robot, found.task, found.tick_hz, found.groups) == ("", "", None, ())


@pytest.mark.parametrize(
    ("logs", "says"),
    [
        ([recording(True, 0.1), recording(True, 0.1, pro_sha256="c" * 64)], "found 2 kinds"),
        ([recording(True, 0.1), recording(True, 0.1, robot="other")], "found 2 kinds"),
        ([recording(True, 0.1, risk="slows above 0.2")], r"with \[risk\]"),
        ([recording(False, 0.1)], "found none of 1"),
        ([recording(True, float("nan"))], "found one that is no number"),
        ([], "found 0 kinds"),
    ],
)
def test_what_cannot_calibrate_is_named(logs, says):
    with pytest.raises(RecordingError, match=says):
        calibrate(logs, "runs/x")


def test_each_rate_has_its_threshold_or_says_how_many_are_too_few() -> None:
    said = lines(made(39), 0.5, 0.1, 0.02)
    assert "50.0% 0.200 1" in said
    assert "10.0% 0.360 9" in said
    assert "2.0% too few 49: 10 more" in said
    assert "runs that alarm before anything went wrong" in " ".join(
        lines(made(39, of="fault-free parts"), 0.1)
    )


def test_the_section_to_paste_is_one_that_a_run_takes(tmp_path: Path) -> None:
    path = tmp_path / 'a "b" risk.json'
    for n in (9, 39, 99):
        text = section(made(n), path)
        found = tomllib.loads(text[text.index("[risk]") :])
        cfg = config.decode(null_table(pro={"bundle": "x"}, **found), Settings, "pasted")
        assert cfg.risk is not None
        assert cfg.risk.calibration == str(path)
    assert "# abort_alpha = 0.01  # stops 1% of successes, above 0.990" in section(made(99), path)
    assert "would stop the robot: wants 19 successes, found 9" in section(made(9), path)
    assert "wants 9 successes for full_alpha = 0.1, found 8: record 1 more" in section(
        made(8), path
    )
    assert "calibration =" not in section(made(39), None)


def test_own_recordings_calibrate_and_the_run_takes_it(tmp_path: Path, capsys: Any) -> None:
    policy, pro = make_policy(tmp_path / "policy"), make_pro(tmp_path / "pro")
    parts: dict[str, Any] = {
        "policy": {"bundle": str(policy)}, "pro": {"bundle": str(pro), "features": "numpy"},
    }  # fmt: skip
    path = configured(tmp_path / "run.toml", **parts)
    runs = tmp_path / "runs"
    assert run(path, runs, "--episodes", 9) == 0
    capsys.readouterr()
    assert main(["pro", "alarms", str(pro), "--recordings", str(runs), "--alpha", "0.1"]) == 0
    said = capsys.readouterr().out
    file = tmp_path / "pro.risk.json"
    assert f"wrote {file}" in said
    assert "PRO tiny pro: alarms from 9 successes of 9 episodes (9 recordings, " in said
    found = risk.read(file)
    assert (len(found.peaks), found.episodes) == (9, 9)
    assert (found.robot, found.task, found.tick_hz) == ("ur5e", "open_ended", (500.0, 500.0))
    assert {"q", "force", "width"} <= set(found.groups) <= set(spec.MASK_FIELDS)
    assert main(["pro", "alarms", str(pro)]) == 0  # which lies beside the bundle
    with_risk = configured(tmp_path / "risk.toml", risk={"calibration": str(file)}, **parts)
    assert run(with_risk, tmp_path / "slow", "--episodes", 1) == 0
    for more, code, says in (
        ([], 2, "found it there: add --overwrite"),
        (["--overwrite"], 0, ""),
        (["--calibration", str(file)], 2, "found both"),
        (["--out", str(runs / "episode_0.mcap" / "x")], 2, "cannot write the calibration"),
    ):
        assert main(["pro", "alarms", str(pro), "--recordings", str(runs), *more]) == code
        assert says in capsys.readouterr().err
    other = make_head(tmp_path / "other").path
    with pytest.raises(SpecMismatch, match="was made for PRO model"):
        alarms_command(other, recordings=runs, out=tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_recordings_without_pro_cannot_calibrate(tmp_path: Path) -> None:
    assert run(configured(tmp_path / "run.toml"), tmp_path / "runs", "--episodes", 1) == 0
    pro = make_pro(tmp_path / "pro")
    with pytest.raises(RecordingError, match=r"record it with \[pro\]"):
        alarms_command(pro, recordings=tmp_path / "runs")
    with pytest.raises(RecordingError, match=r"wanted recordings .* found none: record episodes"):
        alarms_command(pro, recordings=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"alpha": (0.1, 1.0)}, "wanted --alpha between 0 and 1, found 1.0"),
        ({"out": Path("x")}, "--out is where --recordings is written"),
        ({}, "wanted a calibration as risk.json in .*pro.risk.json, found none: name one"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        alarms_command(make_pro(tmp_path / "pro"), **arguments)
