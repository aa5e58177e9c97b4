"""`headway doctor` on machines that are made up: nothing here depends on this one."""

from __future__ import annotations

import io
import json
import threading
from fnmatch import fnmatch

import pytest
from rich.console import Console

from headway.tools.doctor import doctor
from headway.tools.doctor import probes as doctor_probes
from headway.tools.doctor.doctor import Finding, Host, diagnose, doctor_command, exit_code

H200 = "driver 12 8\ngpu 9 0 143771 NVIDIA H200\n"
CPUINFO = "".join(f"processor\t: {i}\nmodel name\t: Cortex-A78AE\n\n" for i in range(4))
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units\n"
    "Max locked memory         67108864             67108864             bytes\n"
    "Max realtime priority     95                   95\n"
)


class Fake(Host):
    """A machine as dictionaries; what they do not hold is not there."""

    def __init__(self) -> None:
        self.files = {
            "/proc/cpuinfo": CPUINFO,
            "/proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB",
            "/proc/version": "Linux version 6.8 SMP PREEMPT_DYNAMIC",
            "/proc/self/limits": LIMITS,
            "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
        }
        self.python_says: dict[str, str | None] = {
            doctor_probes.CUDA: None,
            doctor_probes.FIFO: "ok",
            doctor_probes.MLOCK: "ok",
            doctor_probes.TIMER: "60.0 120.0 1.0",
            doctor_probes.PROVIDERS: "CPUExecutionProvider",
            doctor_probes.RENDERER: "egl",
        }
        self.commands = {("df", "-PTk", "runs"): "head\n/dev/a ext4 1 1 104857600 1% /"}
        self.packages = {"onnxruntime": "1.20", "mujoco": "3.3"}
        self.modules = set(doctor_probes.BASE)
        self.closed: set[str] = set()
        self.programs: dict[str, str] = {}

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def glob(self, pattern: str) -> list[str]:
        return sorted(p for p in self.files if fnmatch(p, pattern))

    def run(self, *argv: str, timeout: float = 5.0) -> str | None:
        return self.commands.get(argv)

    def python(self, code: str, timeout: float = 8.0) -> str | None:
        return self.python_says[code]

    def which(self, program: str) -> str | None:
        return self.programs.get(program)

    def version(self, distribution: str) -> str | None:
        return self.packages.get(distribution)

    def has_module(self, name: str) -> bool:
        return name in self.modules

    def may_open(self, path: str) -> bool:
        return path not in self.closed


def by_name(host: Host) -> dict[str, Finding]:
    return {f.name: f for f in diagnose(host)}


def test_a_small_machine_can_run() -> None:
    found = by_name(Fake())
    assert exit_code(list(found.values())) == 0
    assert found["processor"].found == "Cortex-A78AE, 4 cores"
    assert found["memory"].found == "8.0 GiB, 4.0 GiB available"
    assert found["disk for runs/"].found == "100 GiB free, ext4"
    assert found["SCHED_FIFO"].found == "permitted (rtprio limit 95)"
    assert found["mlockall"].found == "permitted (locked memory limit 64 MiB)"
    assert found["kernel"].status == "warn"
    assert "PREEMPT_RT" in found["kernel"].next_step
    assert found["NVIDIA GPU"].status == "missing"
    assert not any(f.group == "doctor" for f in found.values())  # no probe failed


def test_without_a_renderer_the_cell_is_out_and_a_robot_is_not() -> None:
    host = Fake()
    host.python_says[doctor_probes.RENDERER] = "none"
    found = diagnose(host)
    renderer = next(f for f in found if f.name == "off-screen renderer")
    assert renderer.status == "missing"
    assert "libegl1" in renderer.next_step
    assert exit_code(found) == 0
    assert "the simulated cell is not (off-screen renderer)" in doctor.summary(found)


@pytest.mark.parametrize("what", ["onnxruntime", "onnxruntime broken", "mcap"])
def test_what_a_run_needs_decides_the_exit_code(what: str) -> None:
    host = Fake()
    if what == "mcap":
        host.modules.discard("mcap")
    else:
        host.python_says[doctor_probes.PROVIDERS] = None
        if what == "onnxruntime":
            del host.packages["onnxruntime"]
    found = diagnose(host)
    lacking = [f for f in found if f.required and f.status == "missing"]
    assert len(lacking) == 1
    assert "pip install" in lacking[0].next_step
    assert exit_code(found) == 1
    assert "not possible" in doctor.summary(found)


def test_a_gpu_with_tensorrt_and_a_toolkit() -> None:
    host = Fake()
    host.python_says[doctor_probes.CUDA] = H200
    host.packages["tensorrt"] = "10.3.0"
    host.programs["nvcc"] = "/usr/bin/nvcc"
    host.commands["/usr/bin/nvcc", "--version"] = "Cuda compilation tools, release 12.6, V12.6.1"
    found = by_name(host)
    assert found["NVIDIA GPU"].found == "NVIDIA H200, sm_90, 140 GiB"
    assert found["CUDA driver"].found == "CUDA 12.8"
    assert found["CUDA toolkit"].found == "12.6 (/usr/bin/nvcc)"
    assert (found["TensorRT"].status, found["TensorRT"].found) == ("ok", "10.3.0")


def test_a_driver_that_refuses_is_not_a_missing_gpu() -> None:
    host = Fake()
    host.python_says[doctor_probes.CUDA] = "error 999"
    host.packages["tensorrt"] = "10.3.0"
    found = by_name(host)
    assert found["NVIDIA GPU"].status == "warn"
    assert "999" in found["NVIDIA GPU"].found
    assert (found["TensorRT"].status, found["TensorRT"].next_step) == ("warn", "needs a GPU")


def test_a_jetson_and_a_realtime_kernel() -> None:
    host = Fake()
    host.files |= {
        "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic",
        "/proc/device-tree/model": "NVIDIA Jetson AGX Orin",
        "/sys/kernel/realtime": "1",
        "/proc/sys/kernel/osrelease": "5.15-rt",
    }
    host.commands["nvpmodel", "-q"] = "NV Power Mode: MODE_30W\n2"
    found = by_name(host)
    jetson = "NVIDIA Jetson AGX Orin, R36 (release), REVISION: 4.0, power mode MODE_30W"
    assert found["Jetson"].found == jetson
    assert "N is the number of the mode MAXN" in found["Jetson"].next_step
    host.files["/etc/nvpmodel.conf"] = (
        "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
    )
    step = by_name(host)["Jetson"].next_step
    assert step == "for full clocks: sudo nvpmodel -m 2 && sudo jetson_clocks"
    host.commands["nvpmodel", "-q"] = "NV Power Mode: MAXN_SUPER\n2"
    assert (by_name(host)["Jetson"].status, by_name(host)["Jetson"].next_step) == ("ok", "")
    assert found["kernel"].status == "ok"


def test_refused_scheduling_slow_governor_and_closed_ports_say_how() -> None:
    host = Fake()
    host.python_says |= {doctor_probes.FIFO: "Operation not permitted", doctor_probes.MLOCK: None}
    host.files |= {
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
        "/dev/serial/by-id/usb-FTDI": "",
        "/dev/video0": "",
    }
    host.closed = {"/dev/serial/by-id/usb-FTDI", "/dev/video0"}
    found = by_name(host)
    assert "rtprio" in found["SCHED_FIFO"].next_step
    assert "Operation not permitted" in found["SCHED_FIFO"].found
    assert found["mlockall"].status == "warn"
    assert "performance" in found["frequency governor"].next_step
    assert "dialout" in found["serial ports"].next_step
    assert "video" in found["video devices"].next_step


def test_a_machine_that_answers_nothing() -> None:
    class Mute(Host):
        def read(self, path: str) -> str | None:
            return None

        def glob(self, pattern: str) -> list[str]:
            return []

        def run(self, *argv: str, timeout: float = 5.0) -> str | None:
            return None

        def which(self, program: str) -> str | None:
            return None

        def version(self, distribution: str) -> str | None:
            return None

        def has_module(self, name: str) -> bool:
            return False

    found = diagnose(Mute())
    assert not any(f.group == "doctor" for f in found)
    assert exit_code(found) == 1


def test_probes_that_raise_or_hang_do_not_stop_the_others() -> None:
    release = threading.Event()

    def raises(host: Host) -> list[Finding]:
        raise SystemExit(3)

    def hangs(host: Host) -> list[Finding]:
        release.wait()
        return []

    def works(host: Host) -> list[Finding]:
        return [Finding("g", "works", "ok", "yes")]

    found = diagnose(Fake(), [raises, hangs, works], timeout_s=0.05)
    release.set()
    assert [f.name for f in found] == ["raises", "hangs", "works"]
    assert "SystemExit" in found[0].found
    assert "no answer" in found[1].found


def test_the_host_never_raises() -> None:
    host = Host()
    assert host.read("/nonexistent/file") is None
    assert host.run("/nonexistent/program") is None
    assert host.python("raise SystemExit(1)") is None
    assert host.python("print(6 * 7)") == "42"
    assert host.version("no-such-distribution") is None
    assert not host.has_module("no_such_package.at_all")


def test_the_command_prints_a_table_or_json() -> None:
    found = diagnose(Fake())
    text = Console(file=io.StringIO(), record=True, width=100)
    assert doctor_command(findings=found, console=text) == 0
    printed = text.export_text()
    assert "ONNX Runtime" in printed
    assert "possible here" in printed
    out = io.StringIO()
    assert doctor_command(json=True, findings=found, console=Console(file=out)) == 0
    plain = json.loads(out.getvalue())
    assert plain["possible"] is True
    assert {f["name"] for f in plain["findings"]} == {f.name for f in found}
