"""A run that names a trust store loads what the store vouches for, and nothing else."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from flow_rig import flow_critic, flow_policy
from map_rig import written
from null_robot import make_policy, make_pro, null_table, run
from sign_rig import Maker
from test_policy_kinds import stranger

from headway.bundle.keys import make as make_key
from headway.bundle.signing import sign_bundle
from headway.edge.policy.kinds.bundle import open_policy
from headway.errors import Untrusted
from headway.mcaplog import open_recording
from headway.tools.serve import serve_command

pytest.importorskip("onnx", reason="the tiny bundles are made with onnx")
SHORT = {"kind": "open_ended", "limit_s": 0.2}
TODAY = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trust store, signed bundles, and a run that names them."""
    root = tmp_path_factory.mktemp("robot")
    maker = Maker(root)
    for path in (make_policy(root / "policy"), make_pro(root / "pro")):
        sign_bundle(path, maker.factory, 3, now=TODAY)
    bundles = {"policy": {"bundle": "policy"}, "pro": {"bundle": "pro"}}
    table = null_table(trust="trust", task=SHORT, **bundles)
    written(root / "run.toml", table)
    return root


@pytest.fixture
def here(robot: Path, tmp_path: Path) -> Path:
    shutil.copytree(robot, tmp_path / "robot")
    return tmp_path / "robot"


def test_signed_bundles_run_and_the_recording_says_by_whom(here: Path) -> None:
    assert run(here / "run.toml", here / "out", "--episodes", 1) == 0
    meta = open_recording(here / "out" / "episode_0.mcap").metadata
    for what in ("policy", "pro"):
        assert meta[f"{what}_version"] == "3"
        assert meta[f"{what}_signed_by"].startswith("factory ")


@pytest.mark.parametrize("which", ["policy", "pro"])
@pytest.mark.parametrize("what", ["unsigned", "tampered", "stranger", "writable"])
def test_others_are_refused_before_anything_moves(
    here: Path, which: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / which
    message = {
        "unsigned": f"wanted a signed bundle in {path}",
        "tampered": "p.onnx was altered",
        "stranger": "was signed by unknown keys",
        "writable": f"{path} can be written by everybody",
    }[what]
    if what == "unsigned":
        (path / "bundle.sig").unlink()
    elif what == "tampered":
        data = bytearray((path / "p.onnx").read_bytes())
        data[-1] ^= 1
        (path / "p.onnx").write_bytes(data)
    elif what == "stranger":
        sign_bundle(path, make_key(here / "others", "factory"), 9, now=TODAY)
    else:
        path.chmod(0o777)
    assert run(here / "run.toml", here / "out", "--episodes", 1) == 3
    assert message in capsys.readouterr().err
    assert not list((here / "out").glob("*.mcap"))
    if what == "unsigned":  # the same without the store
        text = (here / "run.toml").read_text()
        (here / "run.toml").write_text(text.replace('trust = "trust"\n', ""))
        assert run(here / "run.toml", here / "out", "--episodes", 1) == 0


def test_a_policy_in_a_process_of_its_own_is_checked_there(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "policy" / "bundle.sig").unlink()
    text = (here / "run.toml").read_text() + "realtime = {fifo = false, lock_memory = false}\n"
    (here / "run.toml").write_text(text)
    assert run(here / "run.toml", here / "out", "--episodes", 1, "--realtime") == 3
    assert "wanted a signed bundle" in capsys.readouterr().err


def test_a_store_that_is_not_there_is_no_permission(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(here / "trust")
    assert run(here / "run.toml", here / "out", "--episodes", 1) == 2
    assert "wanted a trust store at" in capsys.readouterr().err
    (here / "trust").mkdir()
    (here / "trust").chmod(0o777)
    assert run(here / "run.toml", here / "out", "--episodes", 1) == 3
    assert "trust can be written by everybody" in capsys.readouterr().err


def test_a_critic_is_checked_as_its_policy_is(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    flow, critic = flow_policy(tmp_path / "flow"), flow_critic(tmp_path / "critic")
    sign_bundle(flow, maker.factory, 1, now=TODAY)
    with pytest.raises(Untrusted, match=r"wanted a signed bundle in .*critic"):
        open_policy(str(flow), critic=str(critic), trust=str(maker.store))
    sign_bundle(critic, maker.factory, 1, now=TODAY)
    policy = open_policy(str(flow), critic=str(critic), trust=str(maker.store))
    assert policy.facts["policy_signed_by"] == f"factory {maker.factory.public.id}"
    policy.engine.close()


def test_of_a_policy_that_is_no_bundle_it_is_said_that_nobody_vouches(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = null_table(trust="trust", policy=stranger(here), pro={"bundle": "pro"}, task=SHORT)
    assert run(written(here / "own.toml", table), here / "out", "--episodes", 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "policy Nod is no bundle, so no key vouches for it" in said


def test_a_server_serves_what_its_store_vouches_for(here: Path) -> None:
    (here / "policy" / "bundle.sig").unlink()
    with pytest.raises(Untrusted, match="wanted a signed bundle"):
        serve_command(here / "policy", "127.0.0.1", 0, "auto", 1, trust=here / "trust")
