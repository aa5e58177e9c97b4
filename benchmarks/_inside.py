"""What runs inside the processes of `memory` and `startup`. Imports nothing of ours by itself, so
that what is measured is `headway run` and no more."""

from __future__ import annotations

import contextlib
import runpy
import sys
import time
from typing import Any

HEAVY = ("torch", "mujoco", "onnxruntime")


def peaks(arguments: list[str]) -> dict[str, Any]:
    """`headway run`; then the high-water marks of this process and of its recorder's [MB]."""
    from headway.edge.control.log import EpisodeLog

    writer = []
    original = EpisodeLog.end

    def end(log: EpisodeLog, *arguments: Any) -> None:
        original(log, *arguments)
        writer.append(_peak_mb(log.recorder.writer_pid))

    EpisodeLog.end = end  # type: ignore[method-assign,assignment]
    code = _headway(arguments)
    loaded = [m for m in HEAVY if m in sys.modules]
    return {"code": code, "run": _peak_mb("self"), "writer": max(writer), "loaded": loaded}


def marks(arguments: list[str], born_ns: int) -> dict[str, float]:
    """`headway run` until its first tick is over; seconds since `born_ns` (CLOCK_MONOTONIC)."""
    at = {"interpreter": time.monotonic_ns()}
    from headway.edge.control.build import Built
    from headway.edge.control.log import EpisodeLog
    from headway.edge.control.station import Station
    from headway.tools.run.command import run_command  # noqa: F401 - imported as the command does

    at["imports"] = time.monotonic_ns()
    _mark_after(at, "devices", Station, "__enter__")
    _mark_after(at, "bundles and engines", Built, "__init__")
    _mark_after(at, "scene and recorder", EpisodeLog, "__enter__")

    def stop(log: EpisodeLog, *_: Any) -> None:
        at["tare and first tick"] = time.monotonic_ns()
        raise KeyboardInterrupt

    EpisodeLog.timing = stop  # type: ignore[method-assign,assignment]
    _headway(arguments)
    return {k: (v - born_ns) / 1e9 for k, v in at.items()}


def _mark_after(at: dict[str, int], name: str, owner: type, method: str) -> None:
    original = getattr(owner, method)

    def marked(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        at.setdefault(name, time.monotonic_ns())
        return result

    setattr(owner, method, marked)


def _headway(arguments: list[str]) -> int:
    """`python -m headway ARGUMENTS` in this process, its words on stderr; the exit code."""
    before, sys.argv = sys.argv, ["headway", *arguments]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            runpy.run_module("headway", run_name="__main__", alter_sys=True)
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 1
    finally:
        sys.argv = before
    return 0


def _peak_mb(pid: int | str) -> float:
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024e-6 for line in f if line.startswith("VmHWM"))
