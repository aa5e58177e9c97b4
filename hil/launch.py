"""Start an emulator as a process of its own, and read what it has written down."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from headway.child import environment
from headway.errors import DeviceError
from headway.hil.journal import Entry, entries

_READY_S = 60.0  # an idle machine takes one; a busy one must not fail for it
_END_S = 5.0


class Emulator:
    """`with Emulator("ft300", {"rate_hz": 100.0}, plant={"kind": "servo"}) as device:` runs the
    emulator `kind` with the keys `table`; `device.uri` is where it can be reached. Raises
    DeviceError, with what it printed, when it does not start."""

    def __init__(
        self, kind: str, table: dict[str, Any] | None = None, plant: dict[str, Any] | None = None
    ) -> None:
        self.kind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="headway-emulator-")
        self.journal_path = Path(self._folder.name) / "journal.jsonl"
        setup = {**(table or {}), "plant": plant or {}, "journal": str(self.journal_path)}
        self._errors = open(Path(self._folder.name) / "stderr.txt", "w+b")  # noqa: SIM115 - see close
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headway.hil.emulators", kind, json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
        )
        self.uri = ""

    def __enter__(self) -> Emulator:
        out = self._process.stdout
        assert out is not None
        line = out.readline() if select.select([out], [], [], _READY_S)[0] else b""
        if not line:
            self._process.kill()
            said = self.printed()
            self.close()
            raise DeviceError(
                f"wanted the emulator {self.kind} to start, found: {said or 'nothing'}"
            )
        self.uri = json.loads(line)["uri"]
        return self

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def printed(self) -> str:
        """What it has written to its standard error so far."""
        self._errors.flush()
        return (Path(self._folder.name) / "stderr.txt").read_text(errors="replace").strip()

    def journal(self) -> list[Entry]:
        """What it has written down so far."""
        return entries(self.journal_path)

    def kill(self) -> None:
        """Take it away at once, as a device that loses power."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let it end, and wait for it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._errors.close()
        self._folder.cleanup()

    def __exit__(self, *_: object) -> None:
        self.close()
