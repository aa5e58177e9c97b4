"""What `make wheel-aarch64` and `make aarch64` do beside the work itself: stages that are not done
twice, and what they say of a machine that lacks something."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headway.kernels import native

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "scripts" / "aarch64"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


class TestStages:
    @pytest.fixture
    def stages(self):
        import stages

        return stages

    @pytest.fixture
    def run(self, stages, tmp_path):
        """`run(("name", "inputs", needs), ...)` runs stages; returns those done and those failed.
        The work of a stage whose inputs are "bad" fails."""

        def run(*wanted):
            done = []

            def work(name, inputs):
                if inputs == "bad":
                    raise stages.StageError("no disk")
                done.append(name)

            made = [
                stages.Stage(n, i, lambda n=n, i=i: work(n, i), tuple(needs))
                for n, i, needs in wanted
            ]
            return done, stages.run_all(made, tmp_path / "done")

        return run

    def test_what_was_done_is_not_done_again(self, run):
        both = (("a", "1", ()), ("b c", "1", ("a",)))
        assert run(*both) == (["a", "b c"], [])
        assert run(*both) == ([], [])

    def test_other_inputs_repeat_a_stage_and_what_needs_it_and_nothing_else(self, run):
        run(("a", "1", ()), ("b", "1", ("a",)), ("c", "1", ()))
        assert run(("a", "2", ()), ("b", "1", ("a",)), ("c", "1", ())) == (["a", "b"], [])

    def test_a_failure_leaves_out_what_needs_it_and_is_tried_again(self, run, capsys):
        assert run(("a", "bad", ()), ("b", "1", ("a",)), ("c", "1", ())) == (["c"], ["a", "b"])
        said = capsys.readouterr().out
        assert "[1/3] a: FAILED: no disk" in said
        assert "[2/3] b: left out, since this failed: a" in said
        assert run(("a", "1", ()), ("b", "1", ("a",)), ("c", "1", ())) == (["a", "b"], [])

    def test_work_that_was_interrupted_is_not_taken_for_done(self, run, stages, tmp_path):
        run(("a", "1", ()))

        def interrupted():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stages.run_all([stages.Stage("a", "2", interrupted)], tmp_path / "done")
        assert run(("a", "1", ())) == (["a"], [])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_the_command_as_well(self, number):
        waits = "import signal; print('up', flush=True); signal.pause()"
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import stages; sys.exit(stages.stoppable("
            "lambda: stages.call([sys.executable, '-c', sys.argv[2]], 'it')))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, FOLDER, waits], stdout=subprocess.PIPE, text=True
        ) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == "up\n"
            started.send_signal(number)
            said = started.stdout.read()  # to the end, which is there once both have ended
        assert started.returncode == 130
        assert "the same command goes on with this stage" in said

    def test_contents_are_names_and_bytes(self, stages, tmp_path):
        (tmp_path / "x").write_text("1")
        before = stages.contents([tmp_path])
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "y").write_text("1")
        assert stages.contents([tmp_path]) == before
        (tmp_path / "x").write_text("2")
        changed = stages.contents([tmp_path])
        (tmp_path / "x").rename(tmp_path / "z")
        assert len({before, changed, stages.contents([tmp_path])}) == 3
        assert stages.digest("a", "bc") != stages.digest("ab", "c")

    def test_a_command_that_fails_is_named(self, stages):
        with pytest.raises(stages.StageError, match=r"the work: exit status 3 of .*python"):
            stages.call([sys.executable, "-c", "raise SystemExit(3)"], "the work")
        with pytest.raises(stages.StageError, match="the work: no-such could not be started"):
            stages.call(["no-such"], "the work")


class TestNeeds:
    @pytest.fixture
    def needs(self):
        import needs

        return needs

    def test_what_is_missing_is_named_with_its_package(self, needs):
        gone = {"mmdebstrap", "aarch64-linux-gnu-g++"}
        said = needs.lacking(
            needs.WHEEL | needs.EMULATION, lambda n: None if n in gone else f"/bin/{n}"
        )
        assert "found no aarch64-linux-gnu-g++, mmdebstrap" in said
        assert said.endswith("apt-get install g++-aarch64-linux-gnu mmdebstrap")
        assert needs.lacking(needs.WHEEL, lambda n: n) == ""

    def test_the_machine_the_python_and_the_kernel(self, needs):
        assert needs.wrong_machine("x86_64") == ""
        assert "`make test`" in needs.wrong_machine("aarch64")
        assert "found riscv64" in needs.wrong_machine("riscv64")
        assert needs.wrong_python((3, 11)) == needs.wrong_python((3, 13)) == ""
        assert "3.11 or 3.13, found 3.12" in needs.wrong_python((3, 12))
        assert needs.wrong_kernel("6.7.0") == needs.wrong_kernel("6.18.4-x") == ""
        assert "found 5.15.0-1-generic" in needs.wrong_kernel("5.15.0-1-generic")
        assert "found custom" in needs.wrong_kernel("custom")

    def test_all_reasons_are_said_at_once(self, needs, tmp_path):
        headers = needs.wanted_headers(str(tmp_path))
        assert "found no Python.h" in headers
        with pytest.raises(SystemExit) as e:
            needs.refuse(["", "one", headers], "aarch64")
        assert str(e.value.code).splitlines()[1:] == ["one", headers]
        assert needs.refuse([""], "x86_64") is None

    @pytest.mark.parametrize("script", ["wheels.py", "check.py"])
    def test_without_the_programs_nothing_is_begun(self, script, tmp_path):
        done = subprocess.run(
            [sys.executable, FOLDER / script, "--out", tmp_path / "work"],
            env={"PATH": str(tmp_path)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        assert "g++-aarch64-linux-gnu" in done.stderr or "arm64 itself" in done.stderr
        assert not (tmp_path / "work").exists()


class TestWheels:
    @pytest.fixture
    def wheels(self):
        import wheels

        return wheels

    def test_the_oldest_glibc_is_read_from_the_name(self, wheels):
        name = "headway-0.1.0-cp311-cp311-manylinux_2_34_aarch64.whl"
        assert wheels.glibc_of(name) == (2, 34) <= wheels.OLDEST_GLIBC
        older = "x-1-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"
        assert wheels.glibc_of(older) == (2, 17)
        assert wheels.glibc_of("x-1-cp311-cp311-linux_aarch64.whl") > wheels.OLDEST_GLIBC

    def test_there_has_to_be_one_wheel(self, wheels, tmp_path):
        from stages import StageError

        with pytest.raises(StageError, match="wanted one wheel of headway"):
            wheels.only(tmp_path, "headway")
        tag = f"cp{wheels.VERSION}"
        wheel = tmp_path / f"headway-0.1.0-{tag}-{tag}-manylinux_2_34_aarch64.whl"
        wheel.touch()
        assert wheels.only(tmp_path, "headway") == wheel

    def test_the_environment_is_one_for_arm64(self, wheels, tmp_path):
        found = wheels.environment(tmp_path)
        assert found["PATH"].startswith(str(tmp_path / "bin"))
        assert f"cpython-{wheels.VERSION}-aarch64" in found["SETUPTOOLS_EXT_SUFFIX"]
        assert Path(found["CMAKE_TOOLCHAIN_FILE"]).is_file()
        assert wheels.ruckig().startswith("ruckig")

    def test_everything_in_the_wheel_is_a_reason_to_build_it_again(self, wheels):
        links = {p.name for p in (ROOT / "src" / "headway").iterdir() if p.is_symlink()}
        assert links <= set(wheels.SOURCES)
        assert all((ROOT / name).exists() for name in wheels.SOURCES)


class TestEmulation:
    def test_old_emulators_are_not_taken(self, tmp_path):
        import emulated

        fake = tmp_path / "qemu-aarch64"
        fake.write_text("#!/bin/sh\necho 'qemu-aarch64 version 7.2.19 (Debian 1:7.2)'\n")
        fake.chmod(0o755)
        assert emulated.version_of(fake) == 7 < emulated.OLDEST_QEMU
        assert emulated.version_of(tmp_path / "none") == 0

    def test_the_kernel_is_told_to_run_arm64_programs_alone(self):
        import emulated

        rule = emulated.rule_of(Path("/x/qemu-aarch64"))
        _, name, kind, offset, magic, mask, program, flags = rule.split(":")
        assert (name, kind, offset, program) == ("headway-aarch64", "M", "", "/x/qemu-aarch64")
        assert set(flags) == {"F", "P"}
        wanted, bits = (bytes.fromhex(x.replace(r"\x", "")) for x in (magic, mask))
        assert len(wanted) == len(bits) == 20
        head = Path(sys.executable).resolve().read_bytes()[:20]
        assert head[:4] == wanted[:4] == b"\x7fELF"
        ours = bytes(a & b for a, b in zip(head, bits, strict=True))
        assert (ours == wanted) == (head[18:20] == b"\xb7\x00")

    def test_all_that_is_tested_there_exists(self):
        import check

        files = [ROOT / f for names in check.TESTS.values() for f in check.files_of(names)]
        assert [f.name for f in files if not f.is_file()] == []
        assert len(set(files)) == len(files)
        tests = [t for names in check.TESTS.values() for t in check.tests_of(names)]
        for file, sign, test in (t.partition("::") for t in tests):
            assert not sign or f"def {test}(" in (ROOT / file).read_text()


@pytest.mark.skipif(native.module("auto") is None, reason="C++ feature stream not built")
class TestSameBits:
    @pytest.fixture
    def bits(self, monkeypatch):
        import same_bits

        monkeypatch.setattr(same_bits, "STREAMS", ((6, 125.0, 300),))
        return same_bits

    def test_the_same_machine_gives_the_same_bits(self, bits, tmp_path, capsys):
        bits.record(tmp_path / "v.npz")
        assert bits.compare(tmp_path / "v.npz") == 0
        assert "features: 0 of 71400 values differ" in capsys.readouterr().out

    def test_one_bit_is_seen(self, bits, tmp_path, capsys):
        path = tmp_path / "v.npz"
        bits.record(path)
        with np.load(path) as kept:
            arrays = dict(kept)
        name = next(n for n in arrays if n.startswith("features"))
        arrays[name].view(np.uint32)[7, 3] ^= 1
        np.savez(path, **arrays)
        assert bits.compare(path) == 1
        assert "features: 1 of 71400 values differ" in capsys.readouterr().out

    def test_vectors_of_other_features_are_refused(self, bits, tmp_path, monkeypatch, capsys):
        bits.record(tmp_path / "v.npz")
        monkeypatch.setattr(bits.spec, "spec_hash", lambda: "0" * 64)
        assert bits.compare(tmp_path / "v.npz") == 1
        assert "record again" in capsys.readouterr().out

    def test_the_rows_move_every_feature(self, bits):
        """But those that two of the fields, when both are known, make useless."""
        found = bits.features(bits.telemetry(6, 3000, 0), 500.0)
        still = (found == found[0]).all(axis=0).mean()
        assert still < 0.1


@pytest.mark.parametrize("name", ["headway.service", "Containerfile"])
def test_what_a_jetson_is_told_to_run_is_a_command_of_headway(name, capsys):
    from headway.__main__ import main

    text = (ROOT / "examples" / "jetson" / name).read_text()
    line = next(x for x in text.splitlines() if "headway run " in x)
    flags = re.findall(r"--[a-z-]+", line.partition("headway run ")[2])
    assert {"--config", "--realtime", "--out"} <= set(flags)
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = capsys.readouterr().out
    assert [flag for flag in flags if flag not in said] == []
