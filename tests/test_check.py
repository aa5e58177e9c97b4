"""`headway check`: what fits, and each thing that does not, before anything moves."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest
from flow_rig import flow_critic, flow_policy
from null_robot import NO_REALTIME, make_policy, make_pro

from headway.__main__ import main
from headway.actions import ActionSpace
from headway.bundle import MANIFEST, StateInput
from headway.tools.check.check import Asked, check


@pytest.fixture
def report(write):
    """`report(bundle, arm={...})`: a check of null devices with sections replaced, or left out
    where they are None, in which nothing is measured."""

    def report(bundle=None, **changes):
        path = write(**{k: v for k, v in changes.items() if v is not None})
        lines = path.read_text().splitlines(keepends=True)
        left = [x for x in lines if changes.get(x.split(" = ")[0], "") is not None]
        path.write_text("".join(left))
        return check(Asked(path, bundle, seconds=0.0))

    return report


def amiss(report):
    """What is not kept: the remedies by group and name."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in report.lines:
        if line.verdict == "not kept":
            found.setdefault((line.group, line.name), []).append(line.remedy)
    return found


def only(report, group, name):
    """The one remedy of a report in which this alone is not kept."""
    assert list(amiss(report)) == [(group, name)], amiss(report)
    (text,) = amiss(report)[group, name]
    return text


def test_a_bundle_that_fits_is_put_together(report, both):
    found = report(**both)
    assert found.fits, amiss(found)
    kept = {(x.group, x.name): x for x in found.lines if x.verdict == "kept"}
    assert "policy tiny on ort" in kept["run", "put together"].found
    assert kept["policy", "camera wrist"].found == "16x16 with depth, 30 a second"
    assert kept["engines", "policy"].found.startswith("ort (cpu); ort: best that can run here")
    assert "asked every 50 ticks (10 Hz); its chunks last 0.6 s" in kept["policy", "rate"].found
    assert "latency_s = 0.02 of [policy], not measured" in kept["latency", "chunk outlasts"].found
    assert "for the policy's" in kept["memory", "free"].wanted


def test_the_named_bundle_is_checked_for_what_it_is(report, both, bundles, tmp_path):
    """A policy, a head and a critic each take the place of the one that the file names."""
    other = make_pro(tmp_path / "other", rate_hz=25.0)
    assert only(report(other, **both), "PRO", "head").endswith("set loop.pro_hz = 25.0")
    assert ("policy", "rate") in amiss(report(bundles / "policy", loop={"policy_hz": 5.0}))
    critic = flow_critic(tmp_path / "critic")
    assert "makes none from it: leave `critic` out" in only(
        report(critic, policy=both["policy"]), "policy", "critic"
    )


def test_a_policy_of_another_robot(report, tmp_path):
    names = tuple(f"panda_joint{i}" for i in range(1, 8))
    actions = ActionSpace(names=names, chunk=6, dt_s=0.1, space="joint", mode="absolute")
    policy = make_policy(tmp_path / "panda", policy={"actions": actions})
    text = only(report(policy), "policy", "action space")
    assert "wanted actions for the robot's joints shoulder_pan_joint" in text
    assert "name them as the robot's model does" in text


def test_another_rate_and_chunks_that_are_too_short_are_both_said(report, both):
    found = amiss(report(loop={"policy_hz": 5.0, "chunk_max_age_s": 0.1}, **both))
    first, second = found["policy", "rate"]
    assert "made to be asked 10 times a second, found loop.policy_hz = 5" in first
    assert "asked every 0.2 s, but loop.chunk_max_age_s allows 0.1 s" in second


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        ({"name": "scene"}, 'add a [[camera]] section with name = "wrist", or rename one'),
        ({"width": 32}, "wants 16x16 from camera `wrist`, found 32x16: set width = 16"),
    ],
)
def test_a_camera_that_is_missing_or_has_another_size(report, both, camera, says):
    table = {"kind": "null", "name": "wrist", "width": 16, "height": 16, **camera}
    assert says in only(report(camera=[table], **both), "policy", "camera wrist")


def test_samples_that_come_too_seldom(report, both):
    table = {"kind": "null", "name": "wrist", "width": 16, "height": 16, "rate_hz": 2.0}
    found = report(camera=[table], ft={"kind": "null", "rate_hz": 20.0}, **both)
    assert set(amiss(found)) == {("run", "rate of camera wrist"), ("run", "rate of F/T sensor")}
    assert (
        "set loop.camera_max_age_s to more than 0.5"
        in amiss(found)["run", "rate of camera wrist"][0]
    )
    assert not any(line.run_refuses for line in found.lines)  # a run begins, and brakes


def test_what_no_device_gives(report, both):
    found = amiss(report(ft=None, gripper=None, **both))
    assert set(found) == {("run", "guard"), ("policy", "state")}
    jaws, wrench = found["policy", "state"]
    assert "wants the state gripper.width, and there is no [gripper]: add it" in jaws
    assert "wants the state wrench.fz, and there is no [ft]: add it" in wrench


@pytest.mark.parametrize(
    ("instruction", "says"),
    [("put the pink item in the tote", "did you mean"), (None, "wants an instruction, found none")],
)
def test_an_instruction_that_is_unknown_or_missing(report, both, instruction, says):
    assert says in only(report(instruction=instruction, **both), "policy", "instruction")


def test_all_that_is_wrong_with_a_head_is_said_at_once(report, tmp_path):
    head = make_pro(tmp_path / "pro", spec_hash="0" * 64, rate_hz=25.0)
    path = head / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["pro"] |= {"robot": "so101", "groups": ["station"]}
    path.write_text(json.dumps(manifest))
    spec, robot, rate = amiss(report(head))["PRO", "head"]
    assert "wants PRO spec 000000000000, kernels provide" in spec
    assert "robot so101 with station; this run has robot ur5e at 500 Hz, without station" in robot
    assert "was trained at 25.0 Hz, the loop runs its head at 50.0 Hz" in rate


def test_a_calibration_of_another_head(report, both, tmp_path):
    made = {
        "kind": "risk", "pro": "x", "pro_sha256": "a" * 64, "policy_sha256": "", "data": "",
        "peaks": [0.1, 0.2], "episodes": 2, "date": "2026-01-01",
    }  # fmt: skip
    path = tmp_path / "risk.json"
    path.write_text(json.dumps(made))
    model, few = amiss(report(risk={"calibration": str(path)}, **both))["PRO", "risk"]
    assert "was made for PRO model aaaaaaaaaaaa (x), this run has" in model
    assert "successful episodes to calibrate with, found 2" in few
    assert "found none" in amiss(report(risk={}, **both))["PRO", "risk"][0]


def alter(bundle):
    model = bundle / "p.onnx"
    model.write_bytes(b"x" + model.read_bytes()[1:])


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (alter, "was altered"),
        (lambda b: (b / "p.onnx").unlink(), "wanted the file p.onnx, found none"),
        (lambda b: (b / MANIFEST).write_text("{"), "is not readable as JSON"),
        (shutil.rmtree, "found nothing: give the folder that holds bundle.json"),
    ],
)  # fmt: skip
def test_damaged_bundles(report, bundles, both, tmp_path, harm, says):
    hurt = tmp_path / "hurt"
    shutil.copytree(bundles / "policy", hurt)
    harm(hurt)
    assert says in only(report(hurt), "bundles", "bundle")
    configured = report(**{**both, "policy": {"bundle": str(hurt)}})
    assert says in only(configured, "bundles", "policy")
    assert [x.found for x in configured.lines if (x.group, x.name) == ("engines", "policy")] == [
        "its bundle does not load"
    ]


def test_an_engine_that_cannot_run_here(report, both):
    found = report(policy=both["policy"] | {"engine": "tensort"})
    assert "wanted a kind of edge.engines.backends" in only(found, "engines", "policy")


def test_a_critic_for_other_eyes(report, tmp_path):
    critic = flow_critic(tmp_path / "critic", critic={"eyes": "other eyes"}, code=3)
    policy = {"bundle": str(flow_policy(tmp_path / "flow")), "critic": str(critic)}
    eyes, size = amiss(report(policy=policy))["policy", "critic"]
    assert "was trained for the eyes other eyes (flow), policy flow has" in eyes
    assert "wants 3 numbers as `code`, policy flow gives" in size


def test_normalisation_in_degrees(report, tmp_path):
    names = {"input": "state", "names": ("q.elbow_joint", "wrench.fz", "gripper.width", "tcp.x")}
    degrees = {"mean": (90.0, 2.0, 0.04, 0.0), "std": (35.0, 10.0, 0.02, 0.3)}
    policy = make_policy(
        tmp_path / "deg", policy={"state": (msgspec.convert(names, StateInput),)},
        tensors={"state": degrees},
    )  # fmt: skip
    found = report(policy)
    text = only(found, "policy", "normalisation")
    assert (
        "state q.elbow_joint is normalised by mean 90 and std 35, outside -3.142 to 3.142" in text
    )
    # ... which a run cannot know: it begins
    assert [x.verdict for x in found.lines if x.name == "put together"] == ["kept"]
    names["units"] = ("deg", "", "", "")
    policy = make_policy(
        tmp_path / "rad", policy={"state": (msgspec.convert(names, StateInput),)},
        tensors={"state": degrees},
    )  # fmt: skip
    assert report(policy).fits


def test_the_exit_code_and_both_ways_to_print(write, both, capsys):
    args = ["--robot", str(write(**both)), "--seconds", "0"]
    assert main(["check", *args]) == 0
    assert f"yes: {args[1]} may run here" in capsys.readouterr().out
    args[1] = str(write(loop={"pro_hz": 25.0}, **both))
    assert main(["check", *args]) == 3
    said = capsys.readouterr().out
    assert "not kept PRO, head: bundle" in said
    assert "1 not kept (PRO: head)" in said
    assert main(["check", *args, "--json"]) == 3
    plain = json.loads(capsys.readouterr().out)
    assert (plain["fits"], plain["robot"]) == (False, args[1])
    (line,) = [x for x in plain["lines"] if x["verdict"] == "not kept"]
    assert (line["group"], line["run_refuses"]) == ("PRO", True)
    assert line["then"] == "set loop.pro_hz = 50.0"


def test_bad_arguments(write, capsys):
    path = str(write())
    assert main(["check", "--robot", path, "--workflow", "pick_place"]) == 2
    assert "wanted one configuration" in capsys.readouterr().err
    assert main(["check", "--robot", path, "--seconds", "-1"]) == 2
    assert "wanted --seconds from 0 to 600" in capsys.readouterr().err
    assert main(["check", "--robot", f"{path}x"]) == 2


def test_it_runs_on_null_devices_and_measures(write, both):
    """What is measured, not how much: that depends on what else the machine does."""
    task = {"kind": "open_ended", "limit_s": 0.3}  # the second episode goes on where it ended
    path = write(realtime=NO_REALTIME, task=task, **both)
    lines = {(x.group, x.name): x for x in check(Asked(path, seconds=0.4)).lines}
    assert "deadlines missed" in lines["latency", "tick of the loop"].found
    assert "in its process; first of the warm-up" in lines["latency", "inference"].found
    assert "from observation to chunk p50" in lines["latency", "chunk outlasts"].found


def test_devices_are_opened_only_when_that_is_asked_for(write, both):
    path = write(ft={"kind": "ft300", "port": "/dev/there-is-none"}, **both)
    assert check(Asked(path, seconds=0.0)).fits
    found = check(Asked(path, seconds=0.0, devices=True))
    assert "/dev/there-is-none" in only(found, "opened", "devices")
    found = check(Asked(write(**both), seconds=0.0, devices=True))
    assert found.fits
    opened = {x.name: x.found for x in found.lines if x.group == "opened"}
    assert opened["devices"] == "arm, F/T sensor, gripper, camera wrist"
    assert opened["images"] == "wrist 16x16"
    assert opened["state"] == "each is a number"


def test_a_number_that_a_device_does_not_give_shows_once_it_is_open(write, tmp_path):
    names = {"input": "state", "names": ("tcp.x", "gripper.vacuum", "tcp.z", "wrench.fz")}
    policy = make_policy(tmp_path / "cup", policy={"state": (msgspec.convert(names, StateInput),)})
    found = check(Asked(write(), policy, seconds=0.0, devices=True))
    assert only(found, "opened", "state").startswith("no device gives gripper.vacuum: choose")
