"""Each way in which `headway run` refuses: its exit code, and a message that helps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from null_robot import make_pro, run

from headway.kernels import cuda, spec
from headway.mcaplog import open_recording


class TestRefusals:
    """Each with its exit code, before anything moves; nothing is left in the output folder."""

    @pytest.fixture
    def refused(self, tmp_path, capsys):
        def refused(path, *args, code, says):
            assert run(path, tmp_path / "out", *args) == code
            error = capsys.readouterr().err
            assert error.startswith("headway: ")
            assert says in error, error
            assert not list((tmp_path / "out").glob("*"))

        return refused

    def test_unknown_key(self, write, refused):
        path = write(loop={"hzz": 500.0})
        refused(path, code=2, says=f"{path}: unknown key `loop.hzz`: did you mean `loop.hz`?")

    def test_unknown_key_of_a_device(self, write, refused):
        path = write(arm={"kind": "null", "rate": 500.0})
        refused(path, code=2, says="[arm]: unknown key `rate`: did you mean `rate_hz`?")

    def test_unknown_kind_and_none(self, write, refused):
        refused(write(ft={"kind": "nul"}), code=2, says="did you mean `null`?")
        refused(write(ft={}), code=2, says="[ft] wants a key `kind`")

    def test_no_configuration(self, tmp_path, refused):
        refused(tmp_path / "none.toml", code=2, says="wanted a configuration at")

    @pytest.mark.parametrize("episodes", [0, -3])
    def test_episodes(self, write, refused, episodes):
        refused(write(), "--episodes", episodes, code=2, says="--episodes of at least 1")

    @pytest.mark.parametrize("seed", [-1, -(10**30)])
    def test_seed(self, write, refused, seed):
        refused(write(), "--seed", seed, code=2, says=f"--seed of at least 0, found {seed}")

    @pytest.mark.parametrize("option", [("--view-port", 99999), ("--view-port", -1)])
    def test_view_port(self, write, refused, option):
        refused(write(), *option, "--view", code=2, says="--view-port from 0 to 65535")
        refused(write(), *option, "--view", code=2, says="0 takes a free one")

    @pytest.mark.parametrize("rate", ["nan", "0", "-5", "inf"])
    def test_view_rate(self, write, refused, rate):
        refused(write(), "--view", "--view-hz", rate, code=2, says="--view-hz above 0")

    @pytest.mark.parametrize(
        "option", [("--view-port", 8765), ("--view-hz", 50.0), ("--view-host", "0.0.0.0")]
    )
    def test_how_to_view_without_a_view(self, write, refused, tmp_path, option):
        """Also with the usual value: whoever gives it expects a view."""
        says = f"{option[0]} {option[1]} describes a live view: wanted --view too, found none"
        refused(write(), *option, code=2, says=says)
        if option[0] != "--view-hz":  # which a Rerun viewer gets too
            refused(write(), *option, "--rerun-save", tmp_path / "a.rrd", code=2, says=says)

    def test_view_host(self, write, refused):
        refused(
            write(), "--view", "--view-host", "", code=2, says="--view-host`, found an empty one"
        )
        says = "wanted to serve the view at no.such.host.invalid:0"
        host = ("--view-host", "no.such.host.invalid")
        refused(write(), "--view", "--view-port", 0, *host, code=2, says=says)

    @pytest.mark.parametrize(
        "url",
        ["x", "http://a:1", "ws://", "ws://:1", "ws://a:99999", "ws://a:b", "ws://a:0",
         "ws://[::1", "ws://a b:1", "ws://a\n:1", "//a:1", "WS//a"],
    )  # fmt: skip
    def test_policy_that_is_no_address(self, write, refused, url):
        refused(write(), "--policy", url, code=2, says=f"as ws://HOST:PORT, found {url!r}")

    def test_a_folder_that_is_no_bundle_and_an_expert_without_a_world(
        self, write, refused, tmp_path
    ):
        (tmp_path / "none").mkdir()
        refused(write(), "--policy", tmp_path / "none", code=3, says="wanted bundle.json as")
        refused(write(), "--policy", "expert", code=2, says="wanted a simulated world")

    def test_an_empty_policy(self, write, refused):
        refused(write(), "--policy", "", code=2, says="--policy`, found an empty one")

    @pytest.mark.parametrize("name", ["out", "out/deeper"])
    def test_recordings_below_a_file(self, write, tmp_path, capsys, name):
        (tmp_path / "out").write_text("mine")
        assert run(write(), tmp_path / name) == 4
        error = capsys.readouterr().err
        assert f"found a file at {tmp_path / 'out'}: choose another --out" in error
        assert (tmp_path / "out").read_text() == "mine"

    @pytest.mark.parametrize("name", ["n" * 300, "n/" * 3000, "a\0b"])
    def test_a_folder_that_cannot_be(self, write, capsys, name):
        assert run(write(), name) == 4
        error = capsys.readouterr().err
        assert "wanted a folder for recordings at" in error
        assert error.endswith(": choose another --out\n")

    def test_a_later_recording_that_is_there_is_found_at_once(self, write, tmp_path, capsys):
        out = tmp_path / "out"
        out.mkdir()
        (out / "episode_12.mcap").write_text("mine")
        assert run(write(), out, "--seed", 10, "--episodes", 10**9) == 4
        assert "found one: choose another name" in capsys.readouterr().err
        assert [p.name for p in out.iterdir()] == ["episode_12.mcap"]

    def test_a_folder_that_may_not_be_written(self, write, tmp_path, capsys, monkeypatch):
        """Root may write everywhere, so the answer of the system is made up."""
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        assert run(write(), tmp_path / "new" / "out") == 4
        error = capsys.readouterr().err
        assert f"found that {tmp_path} may not be written: choose another --out" in error
        assert not (tmp_path / "new").exists()

    def test_a_limit_of_open_files_that_is_too_low(self, write, tmp_path, both):
        """Whatever the number, it is a message or a run that is complete."""
        codes = set()
        for most in (7, 9, 11, 13, 64):
            done = subprocess.run(
                ["bash", "-c", f'ulimit -n {most}; exec "$@"', "bash", sys.executable, "-m",
                 "headway", "run", "--config", write(**both), "--episodes", "1", "--out",
                 tmp_path / f"o{most}"],
                capture_output=True, text=True, timeout=100,
            )  # fmt: skip
            codes.add(done.returncode)
            assert "Traceback" not in done.stderr, (most, done.stderr)
            if done.returncode:
                assert "`ulimit -n" in done.stderr, (most, done.stderr)
            else:
                assert not open_recording(tmp_path / f"o{most}" / "episode_0.mcap").truncated
        assert codes == {0, 5}

    def test_missing_bundle(self, write, refused, tmp_path):
        path = write(policy={"bundle": "models/none"})
        refused(path, code=3, says=f"wanted a bundle folder at {tmp_path / 'models/none'}")

    def test_corrupt_bundle(self, write, refused, bundles, tmp_path):
        broken = tmp_path / "broken"
        shutil.copytree(bundles / "policy", broken)
        data = bytearray((broken / "p.onnx").read_bytes())
        data[len(data) // 2] ^= 1
        (broken / "p.onnx").write_bytes(data)
        refused(write(policy={"bundle": "broken"}), code=3, says="p.onnx was altered")

    def test_policy_where_pro_belongs(self, write, refused, bundles):
        swapped = {"bundle": str(bundles / "policy")}
        refused(write(pro=swapped), code=3, says="wanted a bundle of kind pro, found policy")
        swapped = {"bundle": str(bundles / "pro")}
        refused(write(policy=swapped), code=3, says="wanted a bundle of kind policy, found pro")

    def test_bundle_of_another_feature_spec(self, write, refused, tmp_path):
        make_pro(tmp_path / "old", spec_hash="0" * 64)
        says = f"wants PRO spec 000000000000, kernels provide {spec.spec_hash()[:12]}"
        refused(write(pro={"bundle": "old"}), code=3, says=says)

    def test_bundle_of_another_rate(self, write, refused, tmp_path):
        make_pro(tmp_path / "slow", rate_hz=25.0)
        refused(write(pro={"bundle": "slow"}), code=3, says="trained at 25.0 Hz")

    @pytest.mark.parametrize("clock", [(), ("--realtime",)])
    def test_camera_of_another_size(self, write, refused, bundles, clock):
        camera = [{"kind": "null", "name": "wrist", "width": 32, "height": 24}]
        path = write(camera=camera, policy={"bundle": str(bundles / "policy")})
        says = "wants 16x16 from camera `wrist`, found 32x24: set width = 16 and height = 16"
        refused(path, *clock, code=2, says=says)

    def test_camera_that_is_not_there(self, write, refused, bundles):
        path = write(camera=[], policy={"bundle": str(bundles / "policy")})
        refused(path, code=2, says="wants camera `wrist`, found none")

    def test_instruction_that_was_not_taught(self, write, refused, both):
        path = write(instruction="put the rde item in the tote", **both)
        refused(path, code=3, says="did you mean 'put the red item in the tote'?")

    def test_requirement_that_is_not_met(self, write, refused, both):
        path = write(**both)
        refused(
            path, "--require", "tensorrt", code=5, says="would have policy in ort, PRO head in ort"
        )
        refused(path, "--require", "openvino", code=5, says="nothing that openvino could compute (")
        both["pro"]["features"] = "numpy"
        refused(path, "--require", "cpp", code=5, says="would have features in numpy (")
        refused(path, "--require", "cuda", code=5, says="nothing that cuda could compute (")

    def test_features_on_a_device_that_is_not_there(self, write, refused, both):
        if not cuda.missing():
            pytest.skip("a CUDA device is here")
        both["pro"]["features"] = "cuda"
        refused(write(**both), code=5, says="wanted a")

    def test_simulated_devices_without_a_cell(self, write, refused):
        refused(write(arm={"kind": "sim"}), code=2, says="want a [cell] section")

    def test_output_that_is_no_folder(self, write, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert run(write(), tmp_path / "file") == 4
        assert "wanted a folder for recordings at" in capsys.readouterr().err
