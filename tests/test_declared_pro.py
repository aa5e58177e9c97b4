"""What a PRO bundle declares is acted on, or refused before anything moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from null_robot import make_policy, make_pro, null_table

from headway import bundle, config
from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.errors import BundleError
from headway.kernels import spec


def notes(table: dict[str, Any]) -> list[str]:
    """Of a run of `table` that is ready to begin."""
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        made = Built(station.settings, station, clock)
        made.close()
        return made.notes


def tensor(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for found in (*data["inputs"], *data["outputs"]):
            if found["name"] == name:
                found |= changes

    return change


def info(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["pro"].update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (info(hidden=5), r"wanted `h` as float32 \(1, 5\) in '1', found float32 \(1, 4\)"),
        (info(masks=spec.MASKS[::-1]), "wanted pro.masks q, dq, ref, .*in this order, found rate_"),
        (info(tasks=["a", "b", "a"]), "pro: wanted tasks with distinct names, found .*'b', 'a'"),
        (info(tasks=list("abcd")), "wanted at most 3 names in pro.tasks, found a, b, c, d"),
        (info(temperature={"rsik": 1.0}), "pro.temperature wants names of signals, found `rsik`"),
        (info(thresholds={"rsik": 0.5}), "found `rsik`: did you mean `risk`"),
        (info(gamma=1.5), "`pro.gamma` wants a finite number >= 0 and <= 1, found 1.5"),
        (info(risk_weight=-0.1), "`pro.risk_weight` wants a finite number >= 0"),
        (info(rate_hz=0), "`pro.rate_hz` wants a finite number > 0"),
        (tensor("features", mean=[0.0], std=[2.0]), "`features` has mean and std, which nobody"),
        (tensor("risk", mean=[0.0], std=[2.0]), "`risk` has mean and std, which nobody applies"),
        (tensor("time_to_go", unit="ms"), "in 's', found float32 .* in 'ms'"),
        (tensor("progress", unit="%"), "in '1', found float32 .* in '%'"),
    ],
)
def test_what_is_declared_and_cannot_be_done_is_refused(tmp_path, change, says):
    path = make_pro(tmp_path / "pro")
    file = path / bundle.MANIFEST
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=says):
        notes(null_table(pro={"bundle": str(path), "features": "numpy"}))


def test_units_that_say_what_is_so_are_taken(tmp_path):
    path = make_pro(tmp_path / "pro")
    file = path / bundle.MANIFEST
    data = json.loads(file.read_text())
    tensor("time_to_go", unit="s")(data)
    tensor("features", unit="1")(data)
    data["pro"]["temperature"] = {"risk": 1.1}
    file.write_text(json.dumps(data))
    said = notes(null_table(pro={"bundle": str(path), "features": "numpy"}))
    assert said == ["there is no [policy]: the arm holds where it is"]


@pytest.mark.parametrize("same", [True, False])
def test_a_calibration_for_another_policy_is_said(tmp_path: Path, same: bool) -> None:
    policy, pro = make_policy(tmp_path / "policy"), make_pro(tmp_path / "pro")
    of_policy = bundle.load(policy).manifest.files["p.onnx"].sha256
    calibration = {
        "kind": "risk", "pro": "tiny pro",
        "pro_sha256": bundle.load(pro).manifest.files["p.onnx"].sha256,
        "policy_sha256": of_policy if same else "f" * 64,
        "peaks": [i / 40 for i in range(40)], "episodes": 40, "data": "none", "date": "2026-01-01",
    }  # fmt: skip
    path = tmp_path / "risk.json"
    path.write_text(json.dumps(calibration))
    table = null_table(
        policy={"bundle": str(policy)},
        pro={"bundle": str(pro), "features": "numpy"},
        risk={"calibration": str(path)},
    )
    said = [n for n in notes(table) if "calibrated on episodes of another policy" in n]
    assert len(said) == (0 if same else 1)
