"""A process that watches the loop from outside: no tick for too long, and the loop is ended.

A loop that is stuck in a driver's call cannot stop anything, and one that comes back after seconds
must not go on with what it meant to send then. So the watchdog kills it, after stopping the arm
where its driver offers a way that does not go through the loop (`remote_stop` of
`drivers.ArmModule`); the end of the command stream makes the arm's own watchdog stop it as well. A
loop whose process ends in the middle of an episode (a crash, no memory, SIGKILL) could not stop the
arm either: then the same is tried. The recorder outlives the loop and closes the recording;
`NAME.watchdog.txt` beside it says why.

It counts its own looks, not seconds: a machine that was stopped as a whole is not a stuck loop.
The loop in turn counts its ticks between those looks: a watchdog that was killed, or hangs, ends
the episode, since a robot that nobody watches does not move.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from headway import plugins
from headway.child import environment, outlive
from headway.drivers import ArmModule
from headway.errors import DeviceError

LOOKS = 5  # without a tick
_PATIENCE = 2.0  # stall times without a look
_SIZE = 4096
# Words of the shared page; from byte 64 on the recording's path.
_BEAT, _ARMED, _LENGTH, _LOOK = range(4)
_TEXT = 64


class Beats:
    """Pure: `look` at the counter in turn; True when it is time to act."""

    def __init__(self) -> None:
        self._last, self._same = -1, 0

    def look(self, beat: int, armed: bool) -> bool:
        self._same = self._same + 1 if armed and beat == self._last else 0
        self._last = beat
        return self._same >= LOOKS


class Watchdog:
    """`with Watchdog(0.5, 500.0, "ur", table) as dog:`; `arm` when the loop begins, `beat` every
    tick, `disarm` when it has stopped the arm. Raises DeviceError when it cannot be started."""

    def __init__(self, stall_s: float, hz: float, kind: str, table: Mapping[str, Any]) -> None:
        """`hz` of the loop; `kind` and `table` of the arm, for its `remote_stop`."""
        self._patience = math.ceil(_PATIENCE * stall_s * hz)  # ticks without a look
        self._look = self._unseen = 0
        memory = os.memfd_create("headway-watchdog", os.MFD_CLOEXEC)
        os.ftruncate(memory, _SIZE)
        self._page = mmap.mmap(memory, _SIZE)
        self._words = memoryview(self._page)[:_TEXT].cast("Q")
        setup = {"stall_s": stall_s, "kind": kind, "table": dict(table), "pid": os.getpid()}
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "headway.edge.host.watchdog",
                    str(memory),
                    json.dumps(setup),
                ],
                pass_fds=(memory,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=environment(),
            )
        except OSError as e:
            raise DeviceError(
                f"wanted a watchdog process, found that none can be started: {e.strerror}; see "
                "`ulimit -n`, `ulimit -u` and the free memory"
            ) from None
        finally:
            os.close(memory)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise DeviceError(
                "wanted a watchdog process, found that it ended at once: what it printed says why"
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def arm(self, recording: Path) -> None:
        text = os.fsencode(recording.absolute())[: _SIZE - _TEXT]
        self._page[_TEXT : _TEXT + len(text)] = text
        self._words[_LENGTH] = len(text)
        self._look, self._unseen = self._words[_LOOK], 0
        self._words[_ARMED] = 1

    def beat(self) -> bool:
        """One tick. False when nobody has looked for twice the time that the loop itself has."""
        words = self._words
        words[_BEAT] += 1
        look = words[_LOOK]
        self._unseen = self._unseen + 1 if look == self._look else 0
        self._look = look
        return self._unseen < self._patience

    def disarm(self) -> None:
        self._words[_ARMED] = 0

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()
        self._process.kill()  # it has nothing to clear away, and hears no other signal
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._words.release()
        self._page.close()


def watch(page: mmap.mmap, setup: dict[str, Any]) -> int:
    """Until the loop's process ends, or has to be ended."""
    words = memoryview(page)[:_TEXT].cast("Q")
    beats, loop = Beats(), os.pidfd_open(setup["pid"])
    poll = select.poll()
    poll.register(loop, select.POLLIN)
    print("ready", flush=True)
    while not poll.poll(1000 * setup["stall_s"] / LOOKS):
        words[_LOOK] += 1
        if beats.look(words[_BEAT], bool(words[_ARMED])):
            said = act(loop, setup)
            text = f"no tick for {setup['stall_s']} s, after {words[_BEAT]}: {said}"
            break
    else:
        if not words[_ARMED]:
            return 0
        text = f"the loop's process ended, after tick {words[_BEAT]}: {stop_arm(setup)}"
    tell(Path(os.fsdecode(page[_TEXT : _TEXT + words[_LENGTH]])), text)
    return 1


def tell(recording: Path, text: str) -> None:
    """On stderr and beside the recording; a full disk or a lost terminal is no reason to fail."""
    with contextlib.suppress(OSError):
        recording.with_suffix(".watchdog.txt").write_text(text + "\n")
    with contextlib.suppress(OSError):
        print(f"headway watchdog: {text}", file=sys.stderr, flush=True)


def act(loop: int, setup: dict[str, Any]) -> str:
    """Stop the arm, if that can be done without the loop, then end the loop. In words."""
    said = stop_arm(setup)
    signal.pidfd_send_signal(loop, signal.SIGKILL)
    return f"{said}; the loop's process was killed"


def stop_arm(setup: dict[str, Any]) -> str:
    """Stop it without the loop, if there is a way. In words."""
    try:
        arm = cast(ArmModule, plugins.load("drivers.arms", setup["kind"]))
        said = f"the arm of kind {setup['kind']} has no stop but through the loop"
        if arm.remote_stop is not None:
            arm.remote_stop(setup["table"])
            said = "the arm was stopped"
    except Exception as e:  # whatever a driver raises: the loop is ended all the same
        said = f"the arm was not stopped ({type(e).__name__}: {e})"
    return said


def main(argv: list[str]) -> int:
    memory, setup = int(argv[0]), json.loads(argv[1])
    outlive()
    page = mmap.mmap(memory, _SIZE)
    os.close(memory)
    return watch(page, setup)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
