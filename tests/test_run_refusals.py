"""Each way in which `headway run` refuses: its exit code, and a message that helps."""

from __future__ import annotations

import shutil

import pytest
from null_robot import make_pro, run

from headway.kernels import cuda, spec


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
        refused(path, "--require", "tensorrt", code=5, says="--require tensorrt: this run would")
        both["pro"]["features"] = "numpy"
        refused(path, "--require", "cpp", code=5, says="features on numpy")
        refused(path, "--require", "cuda", code=5, says="features on numpy")

    def test_features_on_a_device_that_is_not_there(self, write, refused, both):
        if not cuda.available():
            pytest.skip("a CUDA device is here")
        both["pro"]["features"] = "cuda"
        refused(write(**both), code=5, says="wanted a")

    def test_simulated_devices_without_a_cell(self, write, refused):
        refused(write(arm={"kind": "sim"}), code=2, says="want a [cell] section")

    def test_output_that_is_no_folder(self, write, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert run(write(), tmp_path / "file") == 4
        assert "wanted a folder for recordings at" in capsys.readouterr().err
