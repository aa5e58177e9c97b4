"""Builds Headway for arm64, installs it on an emulated machine and tests it there:

    python scripts/aarch64/check.py [--out FOLDER] [--mirror URL]      `make aarch64`

Stages that were done are not done again (`stages.py`), so it can be stopped at any time. It
downloads Debian's packages and arm64 wheels, and wants 3 GB of disk.
"""

from __future__ import annotations

import argparse
import compileall
import platform
import shutil
import sys
import sysconfig
import time
from pathlib import Path

import needs
from emulated import PACKAGES, QEMU_RELEASE, Emulated
from stages import Stage, call, contents, digest, run_all, stoppable
from wheels import ROOT, VERSION, Wheels, only

HERE = Path(__file__).resolve().parent
# With Headway and its simulated cell: what the tests below import.
WITH = ("pytest>=8", "hypothesis>=6.100", "onnx>=1.16", "msgpack>=1.0", "tomli>=2", "scipy>=1.11.1")
# Tests of what depends on the processor: compiled parts, the order of loads and stores, models,
# numbers as bytes, clocks. Tests of everything else would say nothing more here: what the features
# are is compared with x86 bit by bit, and the guard in Python is NumPy's. Left out are those
# that hold other processes to seconds of the wall clock, which an emulator does not keep: the
# watchdog, of the rig those that start a whole one, and NOT_KEPT. NAME::TEST is one test of a file.
TESTS = {
    "shared memory": ("fence", "recording_pen", "latest",
                      "rig::test_a_state_arrives_as_it_was_written",
                      "rig::test_a_state_is_always_of_one_piece",
                      "rig::test_of_several_commands_the_newest_is_taken_once",
                      "rig::test_a_writer_that_died_half_way_is_told"),
    "ONNX Runtime": ("engine", "engine_odd"),
    "kernels": ("kernels_native", "kernels_cuda_host"),
    "guard": ("guard_native", "collision"),
    "codecs": ("codec_crc", "ft_codecs", "rtde_codec", "feetech_codec", "remote_codec"),
    "clocks": ("clock", "device_clock", "pace", "deadline"),
    "compiled parts": ("compiled", "kinematics_native", "chunks", "joint_chunk", "row", "payload",
                       "stop", "smoother"),
}  # fmt: skip
NOT_KEPT = ("tests/test_compiled.py::test_player_and_recorder_say_what_computes",)
EPISODE = (
    "-m",
    "headway",
    "run",
    "--episodes",
    "1",
    "--seed",
    "5",
    "--out",
    "/runs",
    "--overwrite",
)


def platforms() -> list[str]:
    """pip's words for arm64 Linux with the glibc of Debian 12, 2.36, and all older ones."""
    names = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)]
    return [f"--platform={name}" for name in (*names, "manylinux2014_aarch64", "linux_aarch64")]


def tests_of(names: tuple[str, ...]) -> list[str]:
    """The tests called `names` in pytest's words, from the root of the checkout."""
    parts = [name.partition("::") for name in names]
    return [f"tests/test_{file}.py{sign}{test}" for file, sign, test in parts]


def files_of(names: tuple[str, ...]) -> list[str]:
    """The files that the tests called `names` are in."""
    return sorted({test.partition("::")[0] for test in tests_of(names)})


class Check:
    """The stages from the sources to what the emulated machine says."""

    def __init__(self, work: Path, mirror: str) -> None:
        self.work, self.machine, self.wheels = work, Emulated(work, ROOT, mirror), Wheels(work)
        self.vectors = work / "vectors.npz"

    def stages(self) -> list[Stage]:
        """To be done in this order."""
        machine = self.machine
        how = contents([HERE / "emulated.py"])
        bits = contents([HERE / "same_bits.py", ROOT / "kernels"])
        helpers = [p for p in (ROOT / "tests").glob("*.py") if not p.name.startswith("test_")]
        about = contents([*helpers, ROOT / "examples"])
        built, made = self.wheels.names, f"machine {machine.release}"
        installed = f"packages for {VERSION}"
        tests = [
            Stage(
                f"tests of {name}",
                about + digest(*names) + contents([ROOT / file for file in files_of(names)]),
                lambda names=names: self._test(names),
                (installed,),
            )
            for name, names in TESTS.items()
        ]
        return [
            *self.wheels.stages(),
            Stage("qemu", digest(QEMU_RELEASE, machine.mirror, how), machine.find_qemu),
            Stage(made, digest(machine.release, *PACKAGES, how), machine.make_root, ("qemu",)),
            Stage(installed, digest(*WITH), self._install, (*built, made)),
            Stage("vectors of x86", bits, self._record),
            Stage("features as on x86", bits, self._compare, (installed, "vectors of x86")),
            Stage("episode", digest(*EPISODE), self._episode, (installed,)),
            *tests,
        ]

    def _install(self) -> None:
        """The wheels, unpacked and compiled to bytecode here, at full speed: the Python over there
        is of the same version."""
        to = self.machine.packages
        shutil.rmtree(to, ignore_errors=True)
        ours = [str(only(self.wheels.folder, name)) for name in ("ruckig", "headway")]
        minor = f"3.{VERSION[1:]}"
        tags = [
            "--implementation=cp",
            f"--abi=cp{VERSION}",
            "--abi=abi3",
            "--abi=none",
            f"--python-version={minor}",
        ]
        python = self.wheels.builders / "bin" / "python"
        call(
            [python, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:",
             "--target", to,
             *platforms(), *tags, ours[0], f"{ours[1]}[sim]", *WITH],
            "installing arm64 wheels",
        )  # fmt: skip
        inside = "/" + str(to.relative_to(self.machine.root))
        compileall.compile_dir(to, quiet=2, stripdir=str(to), prependdir=inside, workers=1)
        self.machine.run(
            [self.machine.python, "-m", "headway", "--version"], "the installed package"
        )

    def _record(self) -> None:
        call(
            [sys.executable, HERE / "same_bits.py", "record", self.vectors],
            "recording features on x86",
        )

    def _compare(self) -> None:
        shutil.copyfile(self.vectors, self.machine.root / "vectors.npz")
        words = [
            self.machine.python,
            "/checkout/scripts/aarch64/same_bits.py",
            "compare",
            "/vectors.npz",
        ]
        self.machine.run(words, "features that are not those of x86")

    def _test(self, names: tuple[str, ...]) -> None:
        marks = "not slow and not hardware"
        words = [
            self.machine.python,
            "-m",
            "pytest",
            "-m",
            marks,
            "--durations=5",
            *(f"--deselect={test}" for test in NOT_KEPT),
            *tests_of(names),
        ]
        self.machine.run(words, "tests", "/checkout")

    def _episode(self) -> None:
        """It has to succeed, as it does on x86. Its recording is another one: ONNX Runtime computes
        other last bits there."""
        self.machine.run([self.machine.python, *EPISODE], "an episode in lock-step", "/tmp")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "aarch64", help="folder of all work"
    )
    parser.add_argument(
        "--mirror", default="", help="of Debian's packages; else mmdebstrap's own choice"
    )
    args = parser.parse_args()
    needs.refuse(
        [
            needs.wrong_python(sys.version_info[:2]),
            needs.wrong_kernel(platform.release()),
            needs.lacking(needs.WHEEL | needs.EMULATION),
            needs.wanted_headers(sysconfig.get_path("include")),
        ]
    )
    begun = time.monotonic()
    check = Check(args.out.resolve(), args.mirror)
    failed = run_all(check.stages(), check.work / "done")
    said = f"all done: Headway's wheel for arm64 passes on Debian {check.machine.release}"
    if failed:
        said = f"FAILED: {', '.join(failed)}"
    print(f"{(time.monotonic() - begun) / 60:.1f} min; {said}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(stoppable(main))
