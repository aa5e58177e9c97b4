"""The probes of `headway doctor`: each looks at one thing through a `Host` and returns findings.

None imports torch, tensorrt, mujoco or onnxruntime into this process, and TensorRT is looked for
only after the GPU driver has answered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from headway.tools.doctor.doctor import Finding, Host, Probe, Status
from headway.tools.doctor.jetson import GPU, jetson

RT = "real time"
SOFT = "software"
DEVICES = "devices"

CUDA = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
code = cuda.cuInit(0)
if code: print("error", code); sys.exit()
v, n = ctypes.c_int(), ctypes.c_int()
cuda.cuDriverGetVersion(ctypes.byref(v)); cuda.cuDeviceGetCount(ctypes.byref(n))
print("driver", v.value // 1000, v.value % 1000 // 10)
for i in range(n.value):
    d, name, a, b, mem = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int(), \
        ctypes.c_int(), ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(d), i); cuda.cuDeviceGetName(name, 256, d)
    cuda.cuDeviceGetAttribute(ctypes.byref(a), 75, d)
    cuda.cuDeviceGetAttribute(ctypes.byref(b), 76, d)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(mem), d)
    print("gpu", a.value, b.value, mem.value >> 20, name.value.decode(errors="replace"))
"""
FIFO = """
import os
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)); print("ok")
except OSError as e: print(e.strerror)
"""
MLOCK = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print("ok" if libc.mlockall(3) == 0 else os.strerror(ctypes.get_errno()))
"""
TIMER = """
import time
late = []
for _ in range(50):
    due = time.monotonic_ns() + 1_000_000
    time.sleep(1e-3)
    late.append((time.monotonic_ns() - due) / 1e3)
late.sort()
print(late[25], late[-1], time.clock_getres(time.CLOCK_MONOTONIC) * 1e9)
"""
PROVIDERS = (
    "from headway.edge.engines.onnx_runtime import onnxruntime as o; "
    "print(','.join(o().get_available_providers()))"
)
RENDERER = """
from headway.drivers.sim import gl
print(gl.backend() or "none")
"""


def _first(text: str | None, prefix: str) -> str:
    for line in (text or "").splitlines():
        if line.startswith(prefix) and ":" in line:
            return line.split(":", 1)[1].strip()
    return ""


def python(host: Host) -> list[Finding]:
    v = sys.version_info
    good = v >= (3, 10)
    return [
        Finding(
            "machine", "Python", "ok" if good else "missing", f"{v.major}.{v.minor}.{v.micro}",
            "" if good else "Headway wants Python 3.10 or newer", required=True,
        )
    ]  # fmt: skip


def processor(host: Host) -> list[Finding]:
    """The processor, its frequency governor, and cores that are kept free for real time."""
    info = host.read("/proc/cpuinfo") or ""
    model = _first(info, "model name") or (host.read("/proc/device-tree/model") or "unknown")
    cores = sum(line.startswith("processor") for line in info.splitlines())
    status: Status = "ok" if cores >= 2 else "warn"
    say = "" if cores >= 2 else "the loop, the policy and the recorder want a core each"
    out = [Finding("machine", "processor", status, f"{model}, {cores} cores", say)]
    governors = {
        host.read(p) or ""
        for p in host.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    } - {""}
    if not governors:
        out.append(Finding(RT, "frequency governor", "ok", "none to set (virtual or fixed clock)"))
    elif governors == {"performance"}:
        out.append(Finding(RT, "frequency governor", "ok", "performance"))
    else:
        step = "sudo cpupower frequency-set -g performance"
        out.append(Finding(RT, "frequency governor", "warn", ", ".join(sorted(governors)), step))
    isolated = host.read("/sys/devices/system/cpu/isolated")
    out.append(
        Finding(RT, "isolated cores", "ok", isolated)
        if isolated
        else Finding(
            RT, "isolated cores", "warn", "none",
            "for steady 1 kHz boot with isolcpus=N nohz_full=N and run the loop there",
        )
    )  # fmt: skip
    return out


def memory(host: Host) -> list[Finding]:
    text = host.read("/proc/meminfo")
    total, free = (_kib(_first(text, k)) for k in ("MemTotal", "MemAvailable"))
    enough = free >= 1 << 20 or not total
    found = f"{total / 2**20:.1f} GiB, {free / 2**20:.1f} GiB available" if total else "unknown"
    step = "" if enough else "a run takes about 0.4 GiB: close something"
    return [Finding("machine", "memory", "ok" if enough else "warn", found, step)]


def _kib(text: str) -> int:
    word = text.split()[0] if text else "0"
    return int(word) if word.isdigit() else 0


def kernel(host: Host) -> list[Finding]:
    """Whether the kernel is one for real time (PREEMPT_RT)."""
    version = host.read("/proc/version") or ""
    release = host.read("/proc/sys/kernel/osrelease") or "unknown"
    if host.read("/sys/kernel/realtime") == "1" or "PREEMPT_RT" in version:
        return [Finding(RT, "kernel", "ok", f"{release}, PREEMPT_RT")]
    model = "PREEMPT" if "PREEMPT" in version else "preemption model not stated"
    return [
        Finding(
            RT, "kernel", "warn", f"{release}, {model}",
            "for bounded latency install a PREEMPT_RT kernel (Ubuntu: `sudo pro enable "
            "realtime-kernel`; Debian: linux-image-rt-amd64; Jetson: nvidia-l4t-rt-kernel)",
        )
    ]  # fmt: skip


def scheduling(host: Host) -> list[Finding]:
    """Real-time priority and memory locking, tried in a process of its own."""
    limits = host.read("/proc/self/limits") or ""
    rt = next((ln.split()[-2] for ln in limits.splitlines() if "realtime priority" in ln), "?")
    lock = next((ln for ln in limits.splitlines() if "locked memory" in ln), "")
    soft = lock.split()[3] if len(lock.split()) > 4 else "?"
    soft = f"{int(soft) >> 20} MiB" if soft.isdigit() else soft
    out = []
    for name, code, limit, line in (
        ("SCHED_FIFO", FIFO, f"rtprio limit {rt}", "@realtime - rtprio 95"),
        ("mlockall", MLOCK, f"locked memory limit {soft}", "@realtime - memlock unlimited"),
    ):
        said = host.python(code) or "the trial process failed"
        if said == "ok":
            out.append(Finding(RT, name, "ok", f"permitted ({limit})"))
            continue
        step = (
            f"add `{line}` to /etc/security/limits.d/99-realtime.conf, join that group, log in "
            "again; in a container: --cap-add SYS_NICE --ulimit rtprio=95 --ulimit memlock=-1"
        )
        out.append(Finding(RT, name, "warn", f"refused: {said} ({limit})", step))
    return out


def clock(host: Host) -> list[Finding]:
    """The clock source, and how late a process wakes from sleeps of 1 ms."""
    base = "/sys/devices/system/clocksource/clocksource0/"
    source = host.read(base + "current_clocksource") or "unknown"
    slow = source in ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
    have = host.read(base + "available_clocksource") or ""
    out = [
        Finding(
            RT, "clock source", "warn" if slow else "ok", source,
            f"reading it is slow: boot with clocksource=tsc (available: {have})" if slow else "",
        )
    ]  # fmt: skip
    words = (host.python(TIMER) or "").split()
    if len(words) == 3:
        mid, worst, res = map(float, words)
        bad = worst > 2000
        found = (
            f"{mid:.0f} us late in the middle, {worst:.0f} us at worst of 50; {res:.0f} ns steps"
        )
        step = "something holds the processor: run this again on an idle machine" if bad else ""
        out.append(Finding(RT, "timer (1 ms sleeps)", "warn" if bad else "ok", found, step))
    return out


def gpu(host: Host) -> list[Finding]:
    """The GPU driver; TensorRT only if the driver answers, because it needs the driver."""
    said = host.python(CUDA, timeout=20.0) or ""
    lines = said.splitlines()
    cards = [ln.split(maxsplit=4) for ln in lines if ln.startswith("gpu ")]
    out = []
    for _, major, minor, mib, name in (c for c in cards if len(c) == 5):
        found = f"{name}, sm_{major}{minor}, {int(mib) / 1024:.0f} GiB"
        out.append(Finding(GPU, "NVIDIA GPU", "ok", found))
    driver = next((ln.split()[1:] for ln in lines if ln.startswith("driver")), [])
    if cards and driver:
        out.append(Finding(GPU, "CUDA driver", "ok", f"CUDA {'.'.join(driver)}"))
    if not cards:
        error = said.split()[-1] if said.startswith("error") else ""
        found = f"the driver answers error {error}" if error else "none"
        step = "" if not error else "check `nvidia-smi`; in a container: --gpus all"
        status: Status = "warn" if error else "missing"
        out.append(Finding(GPU, "NVIDIA GPU", status, found, step or "not needed: ONNX Runtime"))
    nvcc = host.which("nvcc") or next(iter(host.glob("/usr/local/cuda*/bin/nvcc")), None)
    text = host.run(nvcc, "--version") if nvcc else None
    release = (text or "").rpartition("release ")[2].split(",")[0] if text else ""
    if nvcc:
        out.append(Finding(GPU, "CUDA toolkit", "ok", f"{release or 'version unknown'} ({nvcc})"))
    else:
        step = "install the CUDA toolkit of the driver's version" if cards else ""
        out.append(Finding(GPU, "CUDA toolkit", "missing", "no nvcc", step))
    trt = next(
        (v for d in ("tensorrt", "tensorrt-cu12", "tensorrt-cu13") if (v := host.version(d))), None
    )
    out.append(
        Finding(GPU, "TensorRT", "ok" if cards else "warn", trt, "" if cards else "needs a GPU")
        if trt
        else Finding(
            GPU, "TensorRT", "missing", "no Python package",
            "pip install tensorrt; on a Jetson it comes with JetPack" if cards else "",
        )
    )  # fmt: skip
    return out


BASE = (
    "numpy", "msgspec", "mcap", "google.protobuf", "mcap_protobuf", "mcap_ros2",
    "foxglove_schemas_protobuf", "ruckig", "tyro", "rich", "PIL",
    "websockets",
)  # fmt: skip


def packages(host: Host) -> list[Finding]:
    """The packages that every run needs, found without importing them."""
    lacking = [name for name in BASE if not host.has_module(name)]
    status: Status = "missing" if lacking else "ok"
    found = f"no {', '.join(lacking)}" if lacking else "all there"
    step = "pip install headway (or `make run` in the repository)" if lacking else ""
    return [Finding(SOFT, "base packages", status, found, step, required=True)]


def inference(host: Host) -> list[Finding]:
    """ONNX Runtime and its execution providers, imported in a process of its own."""
    version = host.version("onnxruntime") or host.version("onnxruntime-gpu")
    providers = host.python(PROVIDERS) if version or host.has_module("onnxruntime") else None
    if providers is None:
        found = f"{version} is installed but does not import" if version else "none"
        step = "pip install onnxruntime"
        return [Finding(SOFT, "ONNX Runtime", "missing", found, step, required=True)]
    short = providers.replace("ExecutionProvider", "").replace(",", ", ")
    found = f"{version or '?'}: {short}; its telemetry is off in every process of Headway"
    return [Finding(SOFT, "ONNX Runtime", "ok", found, required=True)]


def compiled(host: Host) -> list[Finding]:
    """The compiled C++ modules, each of which has a slower replacement in Python."""
    from headway.compiled import Impl
    from headway.drivers import native as kinematics
    from headway.edge.guard import native as guard_native
    from headway.edge.motion import smoother
    from headway.edge.recording import tick
    from headway.errors import Missing
    from headway.kernels import native as features

    def look(subject: str, module: Callable[[Impl], object]) -> Finding:
        try:
            built = module("auto")
        except Missing as e:
            found, _, step = str(e).partition(": ")
            return Finding(SOFT, subject, "missing", found, step, required=True)
        if built is None:
            step = "`make`, with a C++17 compiler; until then Python computes, more slowly"
            return Finding(SOFT, subject, "warn", "not built", step)
        return Finding(SOFT, subject, "ok", "built from these sources")

    return [
        look("C++ features", features.module),
        look("C++ kinematics", kinematics.module),
        look("C++ guard", guard_native.module),
        look("C++ chunk player", smoother.module),
        look("C++ tick", tick.module),
    ]


def simulation(host: Host) -> list[Finding]:
    """What the simulated cell needs: MuJoCo, and for its cameras an off-screen renderer."""
    mujoco = host.version("mujoco")
    out = [
        Finding(SOFT, "MuJoCo", "ok", mujoco)
        if mujoco
        else Finding(SOFT, "MuJoCo", "missing", "none", "for the cell: pip install 'headway[sim]'")
    ]
    name = host.python(RENDERER)
    if name == "none":
        step = (
            "for the simulated camera: sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri "
            "libopengl0, or libosmesa6"
        )
        found = "neither EGL nor OSMesa"
        return [*out, Finding(SOFT, "off-screen renderer", "missing", found, step)]
    if name is None:
        found, step = "the trial process failed", "python -c 'import headway.drivers.sim.gl'"
        return [*out, Finding(SOFT, "off-screen renderer", "warn", found, step)]
    return [*out, Finding(SOFT, "off-screen renderer", "ok", name)]


def learning(host: Host) -> list[Finding]:
    """PyTorch, which training needs."""
    torch = host.version("torch")
    if torch:
        return [Finding(SOFT, "PyTorch", "ok", f"{torch} (for training only)")]
    step = "for training: pip install 'headway[learn]'; a run needs none"
    return [Finding(SOFT, "PyTorch", "missing", "none", step)]


def cameras(host: Host) -> list[Finding]:
    """Video devices, and what RealSense cameras need."""
    video = host.glob("/dev/video*")
    closed = [v for v in video if not host.may_open(v)]
    if closed:
        found, step = f"no permission for {', '.join(closed)}", "sudo usermod -aG video $USER"
        out = [Finding(DEVICES, "video devices", "warn", found, step)]
    else:
        status: Status = "ok" if video else "missing"
        out = [Finding(DEVICES, "video devices", status, ", ".join(video) or "none plugged in")]
    realsense = host.version("pyrealsense2")
    if realsense is None:
        step = "for RealSense cameras: pip install pyrealsense2"
        return [*out, Finding(DEVICES, "RealSense", "missing", "no package", step)]
    usb = host.glob("/usr/lib/*/libusb-1.0.so.0*") + host.glob("/lib/*/libusb-1.0.so.0*")
    if not usb:
        step = "sudo apt-get install libusb-1.0-0"
        found = f"pyrealsense2 {realsense}, no libusb"
        return [*out, Finding(DEVICES, "RealSense", "warn", found, step)]
    ids = {host.read(p) for p in host.glob("/sys/bus/usb/devices/*/idVendor")}
    plugged = "an Intel USB device" if "8086" in ids else "no camera seen"
    return [*out, Finding(DEVICES, "RealSense", "ok", f"pyrealsense2 {realsense}, {plugged}")]


def serial_ports(host: Host) -> list[Finding]:
    named = host.glob("/dev/serial/by-id/*")
    plain = host.glob("/dev/ttyUSB*") + host.glob("/dev/ttyACM*")
    ports = named or plain
    if not ports:
        return [Finding(DEVICES, "serial ports", "missing", "none plugged in")]
    closed = [p for p in ports if not host.may_open(p)]
    if closed:
        step = "sudo usermod -aG dialout $USER, then log in again"
        return [
            Finding(DEVICES, "serial ports", "warn", f"no permission: {', '.join(closed)}", step)
        ]
    found = ", ".join(ports)
    if not named:
        return [
            Finding(DEVICES, "serial ports", "ok", found, "no /dev/serial/by-id: names may swap")
        ]
    return [Finding(DEVICES, "serial ports", "ok", found)]


def recordings(host: Host) -> list[Finding]:
    """Free space on the disk where runs/ is or would be."""
    lines = (host.run("df", "-PTk", "runs") or host.run("df", "-PTk", ".") or "").splitlines()
    words = lines[-1].split() if len(lines) > 1 else []
    if len(words) < 7 or not words[4].isdigit():
        return [Finding("machine", "disk for runs/", "warn", "unknown", "check that df works")]
    kind, gib = words[1], int(words[4]) / 2**20
    remote = kind.startswith(("nfs", "cifs", "smb", "fuse", "9p"))
    step = "" if gib > 5 else "an hour of recording takes about 2 GiB: make room"
    step = step or ("record to a local disk: this one may stall" if remote else "")
    found = f"{gib:.0f} GiB free, {kind}"
    return [Finding("machine", "disk for runs/", "warn" if step else "ok", found, step)]


PROBES: tuple[Probe, ...] = (
    python, memory, recordings, processor, kernel, scheduling, clock, gpu, jetson, packages,
    inference, compiled, simulation, learning, cameras, serial_ports,
)  # fmt: skip
