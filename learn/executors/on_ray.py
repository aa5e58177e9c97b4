"""Calls on a Ray cluster, one task each; on a cluster of its own on this computer where no address
is given.

Every computer of the cluster needs the same Headway. What a call keeps in files it keeps on the
computer where it runs: only with a folder that all of them share does it go on there after its
computer is lost; otherwise it begins again. Ray itself starts nothing twice here (`max_retries=0`):
a lost task is told of, as a lost process is.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from typing import Any

from headway.errors import DeviceError, Missing
from headway.learn.executors.executor import (
    Call,
    Done,
    Executor,
    Failed,
    Lost,
    News,
    Told,
    failure,
    require_slots,
)

LOCAL = "local"
STEP_S = 0.2  # how often news of progress are fetched [s]
REACH_S = 5.0  # to reach the cluster [s]


def connect(address: str = LOCAL, slots: int | None = None) -> Executor:
    """An executor on the cluster at `address`, such as 10.0.0.5:6379 or ray://10.0.0.5:10001, or,
    for "local", on one that is started on this computer. `slots`: calls at a time [the cluster's
    cores]. Raises ConfigError for fewer than one, Missing without Ray, DeviceError where there is
    no cluster."""
    if slots is not None:
        require_slots(slots)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import: it would phone home
    # Tasks that want no accelerator leave the variables that hide or show them alone.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as e:
        raise Missing(f"Ray is not installed: pip install 'headway[ray]' ({e})") from None
    return _Ray(ray, address, slots)


class _Ray:
    def __init__(self, ray: Any, address: str, slots: int | None) -> None:
        self._ray = ray
        local = address == LOCAL
        if not local:
            _reach(address)
        paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        try:
            ray.init(
                address=LOCAL if local else address,
                num_cpus=slots if local else None,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": paths} if local else None,
            )
            self.slots = slots or max(1, int(ray.cluster_resources().get("CPU", 1)))
            # It needs no core, and lives on this computer: it is there as long as the study is.
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            self._mail = ray.remote(num_cpus=0)(_Mail).options(scheduling_strategy=here).remote()
            ray.get(self._mail.take.remote(), timeout=60.0)
        except Exception as e:  # Ray raises what it likes when it cannot start
            ray.shutdown()
            where = "on this computer" if local else f"at {address}"
            raise DeviceError(
                f"wanted a Ray cluster {where}: {type(e).__name__}: {e}: start one with `ray start "
                "--head`, or leave out --ray"
            ) from e
        self._run = ray.remote(num_cpus=1, max_retries=0)(_run)
        self._running: dict[Any, str] = {}  # the key by the task

    def __enter__(self) -> _Ray:
        return self

    def __exit__(self, *exc: object) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        self._ray.shutdown()

    def start(self, key: str, call: Call, log: str = "") -> None:
        self._running[self._run.remote(self._mail, key, call)] = key

    def wait(self, timeout_s: float) -> list[News]:
        end = time.monotonic() + timeout_s
        while self._running:
            left = max(0.0, end - time.monotonic())
            ready, _ = self._ray.wait(list(self._running), timeout=min(STEP_S, left))
            news: list[News] = [
                Told(key, note)
                for key, note in self._ray.get(self._mail.take.remote())
                if key in self._running.values()
            ]
            news += [self._outcome(task) for task in ready]
            if news or left <= 0.0:
                return news
        return []

    def _outcome(self, task: Any) -> Done | Failed | Lost:
        key = self._running.pop(task)
        try:
            found: Done | Failed = self._ray.get(task)
            return found
        except self._ray.exceptions.RayTaskError as e:  # in Ray's own part of the task
            return failure(key, e, str(e))
        except self._ray.exceptions.RayError as e:
            return Lost(key, f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")


def _reach(address: str) -> None:
    """Raises DeviceError where nobody listens at `address`: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except (OSError, ValueError, OverflowError) as e:
        raise DeviceError(
            f"wanted a Ray cluster at {address} (HOST:PORT or ray://HOST:PORT), found none: {e}: "
            "start one there with `ray start --head`, or mend the address"
        ) from None


class _Mail:
    """Holds what calls tell until it is fetched."""

    def __init__(self) -> None:
        self._notes: list[tuple[str, Any]] = []

    def put(self, key: str, note: Any) -> None:
        self._notes.append((key, note))

    def take(self) -> list[tuple[str, Any]]:
        taken, self._notes = self._notes, []
        return taken


def _run(mail: Any, key: str, call: Call) -> Done | Failed:
    """The task of one call."""
    try:
        return Done(key, call(lambda note: mail.put.remote(key, note)))
    except Exception as e:  # told, as in `processes`
        return failure(key, e, traceback.format_exc())
