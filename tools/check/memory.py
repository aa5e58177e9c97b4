"""Memory: what there is for the processes of a run, and what they take."""

from __future__ import annotations

from pathlib import Path

MIB = 1 << 20


def available(root: Path = Path("/")) -> int | None:
    """How many bytes of memory processes can still take: what the kernel says is available, or
    less where this process is in a control group (v2) with a limit. None where nothing says.
    `root` is the folder below which the kernel's files are read."""
    found = [_kib(root / "proc/meminfo", "MemAvailable")]
    group = _group(root)
    while group is not None:
        found.append(_left(group))
        if group == root / "sys/fs/cgroup":
            break
        group = group.parent
    known = [n for n in found if n is not None]
    return min(known) if known else None


def peak(pid: int, root: Path = Path("/")) -> int | None:
    """The most memory [bytes] that the process `pid` has had resident, None where nothing says."""
    return _kib(root / f"proc/{pid}/status", "VmHWM")


def _kib(path: Path, key: str) -> int | None:
    """The number of the line `key: NUMBER kB`, in bytes."""
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        if name == key and rest.split()[:1] and rest.split()[0].isdigit():
            return int(rest.split()[0]) << 10
    return None


def _group(root: Path) -> Path | None:
    """The folder of this process's control group, None without one."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition("::")
        if number == "0" and rest.startswith("/"):
            return root / "sys/fs/cgroup" / rest.lstrip("/")
    return None


def _left(group: Path) -> int | None:
    """How much of a control group's limit is left [bytes], None without a limit. Cached files that
    are not in use count as left: the kernel drops them first."""
    most, now = _text(group / "memory.max").strip(), _text(group / "memory.current").strip()
    if not (most.isdigit() and now.isdigit()):
        return None
    cached = 0
    for line in _text(group / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == "inactive_file" and number.isdigit():
            cached = int(number)
    return max(0, int(most) - int(now) + cached)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
