"""`headway export` of a LeRobot checkpoint: what the bundle answers is what LeRobot answers.

`make peers-lerobot` installs LeRobot in an environment of its own and makes a checkpoint of ACT,
with what LeRobot's `predict_action` sent for a recorded episode; other kinds are made here."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

pytest.importorskip("onnx", reason="exporting needs onnx: pip install 'headway[export]'")
pytest.importorskip("onnxslim", reason="exporting needs onnxslim: pip install 'headway[export]'")

from headway import config
from headway.__main__ import main
from headway.bundle import Bundle, load
from headway.edge.engines.engine import open_bundle
from headway.edge.policy.instructions import open_encoder
from headway.errors import ConfigError
from headway.export.command import Options
from headway.export.lerobot.importer import About, Camera, Instruction, mapping
from headway.instructions import TokensSpec
from headway.tools.mapping import unfinished
from headway.tools.policy_map import PolicyMap

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / os.environ.get("LEROBOT_VENV", ".venv-lerobot") / "bin" / "python"
RECORDED = ROOT / "runs" / "lerobot_act" / "small"
UNIT = 13.6  # [deg, %]: the least standard deviation that the recording normalises with
HALF = 52.5  # [deg, %]: the least half width that `lerobot_diffusion` normalises with
LEAST = 15.0  # [deg, %]: the least standard deviation of `lerobot_smolvla`
CAMERAS = ("front", "wrist")
ABOUT = About(
    kind="act", columns=6, state=6, state_input="observation.state", played=100, scale=(1.0,) * 6,
    images=(Camera(input="observation.images.front", camera="front", height=48, width=64),),
)  # fmt: skip


@pytest.fixture
def lerobot() -> Path:
    if not PYTHON.is_file():
        pytest.skip(f"no {PYTHON}: `make peers-lerobot` installs LeRobot")
    return PYTHON


def test_the_mapping_of_an_so101_is_whole() -> None:
    text = mapping(ABOUT, 100, Options(None, robot="so101", fps=30.0))
    known = config.decode(config.parse_toml(text, "it"), PolicyMap, "it")
    assert known.actions.names[-1] == "grip"
    assert known.actions.units == ("deg",) * 5 + ("%",)
    assert known.rate_hz == pytest.approx(30.0 / 50)  # half a chunk is left to play
    assert known.state[0].names[-1] == "gripper.closed"
    assert known.images[0].camera == "front"


def test_the_mapping_of_a_policy_that_takes_text_names_its_tokenizer() -> None:
    text = Instruction(input="t", mask_input="m", length=48, suffix="\n", pad_id=2)
    made = mapping(structs.replace(ABOUT, instruction=text), 50, Options(None, robot="so101"))
    spec = config.decode(config.parse_toml(made, "it"), PolicyMap, "it").instruction
    assert isinstance(spec, TokensSpec)
    assert (spec.files, spec.inputs) == (("tokenizer.json",), ("t", "m"))
    assert (spec.length, spec.suffix, spec.pad_id) == (48, "\n", 2)


@pytest.mark.parametrize("robot", [None, "ur5e"])
def test_what_lerobot_does_not_say_is_to_be_filled_in(robot: str | None) -> None:
    text = mapping(ABOUT, 100, Options(None, robot=robot))
    assert unfinished(config.parse_toml(text, "it")) is not None
    assert "--map" in text


def test_a_robot_with_other_joints_is_refused() -> None:
    with pytest.raises(ConfigError, match="6 joints"):
        mapping(ABOUT, 100, Options(None, robot="franka"))


def test_a_python_without_lerobot_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"type": "act"}')
    args = ["export", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*args, "--python", str(tmp_path / "none")]) == 2
    assert "wanted a Python at" in capsys.readouterr().err
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    assert main([*args, "--python", str(fake)]) == 5
    assert "--python" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--fps", "0"], "wanted --fps above 0, found 0"),
        (["--exporter", "dynamo"], "wanted --exporter torchscript for a LeRobot checkpoint"),
    ],
)
def test_options_that_a_checkpoint_does_not_take_are_refused(
    more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"type": "act"}')
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out"), *more]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_act_answers_as_lerobot_does(
    lerobot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On what LeRobot recorded with its own `predict_action`, by a script that knows no Headway."""
    reference = RECORDED / "reference.npz"
    if not reference.is_file():
        pytest.skip(f"no {reference}: `make peers-lerobot` makes it")
    made = exported(lerobot, RECORDED / "checkpoint", tmp_path / "act")
    assert "in network units" in capsys.readouterr().out
    assert made.manifest.provenance.metrics["parity.samples"] == 4.0
    with np.load(reference) as found:
        data = {name: found[name] for name in found.files}
    engine = open_bundle(made, "ort")
    asked = [*data["asked"].tolist(), len(data["action"])]
    for i, (begin, end) in enumerate(itertools.pairwise(asked)):
        engine.write("observation.state", data["state"][begin : begin + 1])
        for camera in CAMERAS:
            engine.write(f"observation.images.{camera}", data[f"images.{camera}"][i : i + 1])
        engine.run()
        ours = engine.bind("actions")[0, : end - begin]
        sent = data["action"][begin:end]
        assert np.ptp(sent, axis=0).min() > 0.01
        assert np.abs(ours - sent).max() <= 1e-5 * UNIT
    engine.close()


def exported(lerobot: Path, checkpoint: Path, out: Path) -> Bundle:
    """The bundle that `headway export` makes of `checkpoint`, held to what LeRobot answers."""
    args = ["--python", str(lerobot), "--robot", "so101", "--out", str(out)]
    assert main(["export", str(checkpoint), *args]) == 0
    made = load(out)
    assert made.manifest.provenance.metrics["parity.actions.max_abs_scaled"] <= 1e-5
    return made


def recorded(lerobot: Path, out: Path, script: str, *args: str) -> dict[str, np.ndarray]:
    """What the `script` beside this file wrote into `out` in LeRobot's environment."""
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HF_HOME": str(out)}
    environment["PYTHONPATH"] = str(ROOT / "export" / "lerobot")
    done = subprocess.run(
        [lerobot, "-W", "ignore", Path(__file__).with_name(script), out, *args],
        check=False, env=environment, timeout=600, capture_output=True, text=True,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1:] or [""]
    if done.returncode and "num2words" in done.stderr:
        pytest.skip(f"{last[0]}: `make peers-lerobot` installs it")
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out / "reference.npz") as found:
        return {name: found[name] for name in found.files}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DDIM", "DDPM"])
def test_diffusion_answers_as_lerobot_does(lerobot: Path, tmp_path: Path, kind: str) -> None:
    """On what LeRobot's `predict_action` sent for known noise; the script knows no Headway."""
    data = recorded(lerobot, tmp_path, "lerobot_diffusion.py", kind)
    made = exported(lerobot, tmp_path / "checkpoint", tmp_path / "bundle")
    policy = made.manifest.policy
    assert policy is not None
    assert policy.noise is not None
    assert (policy.steps, policy.noise.thought) == (2, ())
    assert np.ptp(data["action"], axis=(0, 1)).min() > 0.1
    engine = open_bundle(made, "ort")
    size = engine.bind("noise").size
    for k, sent in enumerate(data["action"]):
        engine.write("observation.state", data["state"][k : k + 1])
        engine.write("observation.images.front", data["images"][k : k + 1])
        engine.write("noise", data["noise"][k].reshape(1, -1)[:, :size])
        engine.run()
        ours = engine.bind("actions")[0, : len(sent)]
        assert np.abs(ours - sent).max() <= 1e-5 * HALF
    engine.close()


@pytest.mark.slow
def test_smolvla_answers_as_lerobot_does(lerobot: Path, tmp_path: Path) -> None:
    """On what LeRobot's `predict_action` sent for a task in words; the script knows no Headway."""
    data = recorded(lerobot, tmp_path, "lerobot_smolvla.py")
    made = exported(lerobot, tmp_path / "checkpoint", tmp_path / "bundle")
    policy = made.manifest.policy
    assert policy is not None
    assert policy.instruction is not None
    encoder = open_encoder(policy.instruction, made.path, "it")
    engine = open_bundle(made, "ort")

    def answer(k: int, task: str) -> np.ndarray:
        engine.write("observation.state", data["state"][k : k + 1])
        engine.write("observation.images.front", data["images"][k : k + 1])
        engine.write("noise", data["noise"][k : k + 1])
        for name, value in encoder.encode(task).items():
            engine.write(name, value)
        engine.run()
        return engine.bind("actions")[0].copy()

    for k, task in enumerate(data["task"].tolist()):
        sent = data["action"][k]
        assert np.abs(answer(k, task) - sent).max() <= 1e-5 * LEAST
        assert np.abs(answer(k, "cube cube") - sent).max() > 1e-2 * LEAST  # words matter
    engine.close()
