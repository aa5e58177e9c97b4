"""`headway check` says yes to what is shipped, and to the examples, and opens none of their
devices."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from headway.__main__ import main
from headway.tools.check.check import Asked, check

pytest.importorskip("mujoco", reason="the shipped configurations are of the simulated cell")

from workflow_rig import moved

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT.parent / "shared" / "data" / "isaac_ur10_reach" / "policy.onnx"
FLOWS = ("pick_place", "returns", "shoebox")
CLONED = "models/workflows_cloned"
SHIPPED = [
    ("configs/pick_place_sim.toml", None),
    ("configs/pick_place_sim.toml", "models/pick_place_policy"),
    ("configs/pick_place_sim.toml", "models/pick_place_pro"),
    ("configs/pick_place_demos.toml", None),
    *((f"configs/workflows/{n}.toml", b) for n in FLOWS for b in (None, CLONED)),
    ("examples/ur5e.toml", None),
    ("examples/droid_franka.toml", None),
    ("examples/aloha/aloha.toml", None),
    ("examples/ur5e_emulated.toml", None),
]  # fmt: skip
QUICK = {0, 4, 5, len(SHIPPED) - 1, len(SHIPPED) - 4}  # the rest is more of the same


@pytest.fixture
def nothing_opened(monkeypatch):
    """No connection to a device, and no process of a rig."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"a check opened something: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("headway.drivers.rig.RigProcess", refuse)
    monkeypatch.setattr("headway.drivers.worlds.rig.RigProcess", refuse)


def no(report):
    return [(x.group, x.name, x.remedy) for x in report.lines if x.verdict == "not kept"]


@pytest.mark.parametrize(
    ("config", "bundle"),
    [
        pytest.param(*case, id="-".join(Path(x).stem for x in case if x),
                     marks=() if k in QUICK else pytest.mark.slow)
        for k, case in enumerate(SHIPPED)
    ],
)  # fmt: skip
def test_what_is_shipped_fits(config, bundle, nothing_opened):
    report = check(Asked(ROOT / config, None if bundle is None else ROOT / bundle, seconds=0.0))
    assert no(report) == []
    kept = {(x.group, x.name) for x in report.lines if x.verdict == "kept"}
    assert {("devices", "arm"), ("run", "put together"), ("memory", "free")} <= kept
    if bundle is not None and "pro" not in Path(bundle).stem:
        assert {("policy", "action space"), ("policy", "rate"), ("engines", "policy")} <= kept


def test_an_onnx_policy_that_nobody_here_made_fits(tmp_path, capsys):
    if not MODEL.is_file():
        pytest.skip(f"wants the policy at {MODEL}, which is not part of the repository")
    made, mapping = tmp_path / "b", ROOT / "examples" / "isaac_ur10_reach.policy.toml"
    assert main(["bundle", str(MODEL), "--map", str(mapping), "--out", str(made)]) == 0
    robot = ROOT / "examples" / "isaac_ur10_reach.toml"
    report = check(Asked(robot, made, seconds=0.0))
    assert no(report) == []
    # ... but on its own robot only, and not without its bundle
    other = check(Asked(ROOT / "configs" / "pick_place_sim.toml", made, seconds=0.0))
    names = {(group, name) for group, name, _ in no(other)}
    assert {("policy", "rate"), ("policy", "state")} <= names
    assert ("bundles", "policy") in {(g, n) for g, n, _ in no(check(Asked(robot, seconds=0.0)))}


def test_somebody_elses_class_is_asked_in_its_process(tmp_path):
    """The example's policy without its task, which an installation alone makes known."""
    folder = ROOT / "examples" / "my_package"
    text = (folder / "wave.toml").read_text()
    task = 'kind = "count_waves"         # my_package/count_waves.py\nwaves = 2\n'
    for old, new in (
        (task, 'kind = "open_ended"\n'),
        ('target = "wave"', f'target = "my_package.wave:Wave"\nfolder = "{folder}"'),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "wave.toml"
    path.write_text(text)
    report = check(Asked(path, seconds=0.0))
    assert no(report) == []
    lines = {(x.group, x.name): x for x in report.lines}
    assert "policy Wave on Python" in lines["run", "put together"].found
    assert lines["policy", "action space"].verdict == "kept"
    path.write_text(text.replace("my_package.wave:Wave", "my_package.wave:Waves"))
    (found,) = no(check(Asked(path, seconds=0.0)))
    assert found[:2] == ("run", "put together")
    assert "did you mean" in found[2]


def test_a_policy_that_sees_the_world_is_left_to_the_run(tmp_path):
    expert = 'kind = "expert"\nexpert = "returns"'
    driven = f'bundle = "{ROOT}/models/workflows_learned"'
    noise = ("noise = 0.0", "# noise = 0.0")  # an expert has none
    path = moved("returns", tmp_path / "expert.toml", (driven, expert), noise)
    report = check(Asked(path, seconds=0.0))
    assert report.fits
    (line,) = [x for x in report.lines if (x.group, x.name) == ("policy", "fit")]
    assert "a policy of kind expert looks into the world" in line.found
