"""Start a proxy as a process of its own, and let faults begin."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from typing import Any

import msgspec

from headway.child import environment
from headway.errors import DeviceError
from headway.hil.proxy.faults import Fault

_READY_S = 20.0
_END_S = 5.0


class ProxyProcess:
    """`with ProxyProcess({"kind": "serial", "device": path}) as proxy:` runs the proxy of that
    table; `proxy.uri` is where the host finds the device. Raises DeviceError, with what it printed,
    when it does not start."""

    def __init__(self, table: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headway.hil.proxy", json.dumps(table)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self.uri = ""
        self.hits: dict[str, int] = {}  # by each kind of fault, once it was closed

    def __enter__(self) -> ProxyProcess:
        errors = self._process.stderr
        assert errors is not None
        line = self._line()
        if not line:
            self._process.kill()
            said = errors.read().decode(errors="replace").strip()
            self.close()
            raise DeviceError(f"wanted the fault proxy to start, found: {said or 'nothing'}")
        self.uri = json.loads(line)["uri"]
        return self

    def inject(self, fault: Fault) -> int:
        """Let `fault` begin now. Returns the time [ns] of CLOCK_MONOTONIC at which it did. Raises
        DeviceError where it cannot happen on this wire, and for a proxy that has ended."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(msgspec.json.encode(fault) + b"\n")
            pipe.flush()
        except OSError:
            raise DeviceError("wanted the fault proxy, found that it has ended") from None
        answer = json.loads(self._line() or b"{}")
        if "begun_ns" not in answer:
            raise DeviceError(f"wanted a fault to begin, found: {answer.get('error', 'no answer')}")
        return int(answer["begun_ns"])

    def _line(self) -> bytes:
        """The next line that it prints, b"" where none comes."""
        out = self._process.stdout
        assert out is not None
        return out.readline() if select.select([out], [], [], _READY_S)[0] else b""

    def close(self) -> None:
        """Let it end, and wait for it."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            out, _ = self._process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, _ = self._process.communicate()
        for line in out.splitlines():
            self.hits = json.loads(line).get("hits", self.hits)

    def __exit__(self, *_: object) -> None:
        self.close()
