"""Facts about the computer that a run happened on, which explain its latency later. `facts()` reads
them for the metadata of a recording.

Everything is read from files below `root`, so that a test can make up a computer. A fact that
cannot be read is left out. Names of facts begin with "env.". On a Jetson the power mode, the clocks
and the throttling counters come from the files that `nvpmodel -q` and `tegrastats` read.

Only runs in real time record these facts: in lock-step the recording depends on the seed alone,
except for the record that says when and where it was made (`edge.host.origin`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

Facts = dict[str, str]
_POLICIES = {0: "SCHED_OTHER", 1: "SCHED_FIFO", 2: "SCHED_RR", 3: "SCHED_BATCH", 5: "SCHED_IDLE"}
_RESET_ON_FORK = 0x40000000
_CPUS = "sys/devices/system/cpu/cpu[0-9]*"
_CAP = 120  # characters of a value


def read(path: Path) -> str:
    """The first line of the file at `path`, at most _CAP characters; "" where there is none."""
    try:
        lines = path.read_text(errors="replace").strip("\0\n ").splitlines()
    except OSError:
        return ""
    return lines[0].strip("\0 ")[:_CAP] if lines else ""


def facts(root: Path = Path("/")) -> Facts:
    """What the computer is and how it is set up, and its clocks and temperatures now."""
    found: Facts = {}
    for part in (_cpu, _kernel, _gpu, _jetson, state):
        with contextlib.suppress(Exception):  # a fact that cannot be read must not end a run
            found |= part(root)
    with contextlib.suppress(Exception):
        found |= process()
    return {f"env.{k}": v for k, v in found.items() if v}


def state(root: Path = Path("/")) -> Facts:
    """What changes while the computer works: clocks, temperatures, throttling counters."""
    out = {}
    clocks = [n for p in _glob(root, f"{_CPUS}/cpufreq/scaling_cur_freq") if (n := _number(p))]
    if clocks:
        out["cpu_mhz"] = f"{min(clocks) // 1000} to {max(clocks) // 1000}"
    hot = []
    for zone in _glob(root, "sys/class/thermal/thermal_zone[0-9]*"):
        milli = _number(zone / "temp")
        if 0 < milli < 200_000:  # zones that are off give values outside this range
            hot.append((milli, read(zone / "type")))
    if hot:
        milli, name = max(hot)
        out["hottest"] = f"{milli / 1000:.1f} C ({name or 'unnamed'})"
    for gpu in _gpus(root):
        out["gpu_mhz"] = _mhz(gpu / "cur_freq")
    counts = throttled(root)
    if counts:
        out["throttled"] = str(sum(counts.values()))
    return out


def throttled(root: Path = Path("/")) -> dict[str, int]:
    """Counters of throttling events by their files: x86 cores, and over-current on a Jetson."""
    patterns = (
        f"{_CPUS}/thermal_throttle/*_throttle_count",
        "sys/class/hwmon/hwmon[0-9]*/oc*_event_cnt",
    )
    return {
        str(p.relative_to(root)): _number(p) for pattern in patterns for p in _glob(root, pattern)
    }


def changes(before: dict[str, int], after: dict[str, int]) -> str:
    """Which throttling counters went up from `before` to `after`, in words; "" for none."""
    grown = {k: n - before.get(k, 0) for k, n in after.items() if n > before.get(k, 0)}
    if not grown:
        return ""
    worst = max(grown, key=lambda k: grown[k])
    return f"the machine was throttled {sum(grown.values())} times, most by {worst}"


def process() -> Facts:
    """How the calling thread is scheduled, and whether the process's memory is locked."""
    policy = os.sched_getscheduler(0) & ~_RESET_ON_FORK
    name = _POLICIES.get(policy, str(policy))
    if policy in (1, 2):
        name += f" {os.sched_getparam(0).sched_priority}"
    status = Path("/proc/self/status")
    locked = next(
        (int(x.split()[1]) for x in status.read_text().splitlines() if x.startswith("VmLck")), 0
    )
    return {
        "scheduling": name,
        "affinity": ranges(os.sched_getaffinity(0)),
        "memory_locked": f"{locked >> 10} MiB" if locked else "no",
    }


def ranges(cores: set[int]) -> str:
    """{0, 1, 2, 5} -> "0-2,5", as the kernel writes it."""
    out: list[list[int]] = []
    for c in sorted(cores):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def cores_of(text: str) -> set[int]:
    """The inverse of `ranges`."""
    out: set[int] = set()
    for word in filter(None, text.strip().split(",")):
        a, _, b = word.partition("-")
        out |= set(range(int(a), int(b or a) + 1))
    return out


def _cpu(root: Path) -> Facts:
    info = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    named = [x.partition(":")[2].strip() for x in info if re.match(r"(model name|Model)\s*:", x)]
    cpu = root / "sys/devices/system/cpu"
    governors = {read(p) for p in _glob(root, f"{_CPUS}/cpufreq/scaling_governor")}
    return {
        "cpu": (named or [read(root / "proc/device-tree/model")])[0],
        "cores": str(sum(x.startswith("processor") for x in info) or ""),
        "governor": ", ".join(sorted(governors - {""})),
        "isolated": read(cpu / "isolated"),
        "idle_driver": read(cpu / "cpuidle/current_driver"),
    }


def _kernel(root: Path) -> Facts:
    rt = read(root / "sys/kernel/realtime") == "1" or "PREEMPT_RT" in read(root / "proc/version")
    release = read(root / "proc/sys/kernel/osrelease")
    return {
        "kernel": release,
        "preempt_rt": "yes" if rt else "no" if release else "",
        "rt_throttling_us": read(root / "proc/sys/kernel/sched_rt_runtime_us"),
        "clock_source": read(
            root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
    }


def _gpu(root: Path) -> Facts:
    models = []
    for path in _glob(root, "proc/driver/nvidia/gpus/*/information"):
        found = re.search(r"^Model:\s*(.+)$", path.read_text(errors="replace"), re.M)
        models += [found[1].strip()] if found else []
    version = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", read(root / "proc/driver/nvidia/version"))
    out = {"gpu": ", ".join(models), "gpu_driver": version[1] if version else ""}
    for path in _gpus(root):
        out |= {
            "gpu": out["gpu"] or path.name,
            "gpu_governor": read(path / "governor"),
            "gpu_mhz_max": _mhz(path / "max_freq"),
        }
    return out


def _jetson(root: Path) -> Facts:
    release = read(root / "etc/nv_tegra_release")
    if not release:
        return {}
    board = read(root / "proc/device-tree/model")
    text = f"{board}, {release.lstrip('# ').split(', GCID')[0]}"
    return {"jetson": text, "power_mode": power_mode(root)}


def power_mode(root: Path = Path("/")) -> str:
    """A Jetson's power mode, such as "MAXN (0)", from nvpmodel's own files; "" without them."""
    try:
        conf = (root / "etc/nvpmodel.conf").read_text(errors="replace")
    except OSError:
        return ""
    said = re.search(r"pmode:(\d+)", read(root / "var/lib/nvpmodel/status"))
    default = re.search(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)", conf)
    found = said or default
    if found is None:
        return ""
    number = int(found[1])
    names = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)", conf))
    return f"{names.get(str(number), 'unnamed')} ({number})" + ("" if said else ", by default")


def _gpus(root: Path) -> Iterator[Path]:
    """Integrated GPUs as devfreq lists them: 17000000.ga10b, 17000000.gpu, gpu-gpc-0."""
    for path in _glob(root, "sys/class/devfreq/*"):
        if re.search(r"gpu|g[avp]\d+b|gpc", path.name):
            yield path


def _mhz(path: Path) -> str:
    hertz = _number(path)
    return str(hertz // 1_000_000) if hertz else ""


def _number(path: Path) -> int:
    text = read(path)
    return int(text) if text.lstrip("-").isdigit() else 0


def _glob(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern))
