"""A process that watches the loop from outside: when there is no tick for too long, it stops the
arm and kills the loop. `Watchdog` is the loop's side, `watch` the process.

A loop that is stuck in a driver's call cannot stop the arm, and a loop that comes back after
seconds must not go on with outdated commands. So the watchdog kills it. Before that it stops the
arm, if the driver offers a way that does not go through the loop (`remote_stop` of
`drivers.ArmModule`). The end of the command stream makes the arm's own watchdog stop it as well. A
loop whose process ends in the middle of an episode (a crash, no memory, SIGKILL) could not stop the
arm either, so the watchdog then tries the same. The recorder outlives the loop and closes the
recording; `NAME.watchdog.txt` beside it says what happened.

The watchdog counts its own looks at the tick counter, not seconds: if the whole computer was
suspended, the loop was not stuck. The loop in turn counts its ticks between those looks. If the
watchdog was killed, or hangs, the episode ends: a robot that nobody watches does not move.
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

LOOKS = 5  # in a row without a tick, then the watchdog acts; together they take `stall_s`
_PATIENCE = 2.0  # times `stall_s`: how long the loop goes on without a look of the watchdog
_SIZE = 4096  # bytes of the shared page
# Words of the shared page: tick counter, whether an episode runs, length of the recording's path,
# counter of the watchdog's looks. From byte _TEXT on it has the path.
_BEAT, _ARMED, _LENGTH, _LOOK = range(4)
_TEXT = 64


class Beats:
    """Decides whether the loop is stuck. `look` is given the tick counter at regular intervals, and
    whether an episode runs; it returns True when the counter has stood still for LOOKS looks."""

    def __init__(self) -> None:
        self._last, self._same = -1, 0

    def look(self, beat: int, armed: bool) -> bool:
        self._same = self._same + 1 if armed and beat == self._last else 0
        self._last = beat
        return self._same >= LOOKS


class Watchdog:
    """`with Watchdog(0.5, 500.0, "ur", table) as dog:` starts the process. Call `arm` with the
    recording's path when an episode begins, `beat` at every tick, and `disarm` when the loop has
    stopped the arm. Raises DeviceError when the process cannot be started."""

    def __init__(self, stall_s: float, hz: float, kind: str, table: Mapping[str, Any]) -> None:
        """`stall_s` [s] without a tick until the watchdog acts; `hz` of the loop; `kind` and
        `table`: the arm's configuration, for its `remote_stop`."""
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
            self.__exit__()
            raise DeviceError(
                "wanted a watchdog process, found that it ended at once: what it printed says why"
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def arm(self, recording: Path) -> None:
        """An episode begins: from now on the watchdog acts when there is no tick. `recording` is
        the file of the episode, beside which the watchdog writes what it did."""
        text = os.fsencode(recording.absolute())[: _SIZE - _TEXT]
        self._page[_TEXT : _TEXT + len(text)] = text
        self._words[_LENGTH] = len(text)
        self._look, self._unseen = self._words[_LOOK], 0
        self._words[_ARMED] = 1

    def beat(self) -> bool:
        """Count a tick. Returns False when the watchdog has not looked for as many ticks as make
        twice `stall_s`."""
        words = self._words
        words[_BEAT] += 1
        look = words[_LOOK]
        self._unseen = self._unseen + 1 if look == self._look else 0
        self._look = look
        return self._unseen < self._patience

    def disarm(self) -> None:
        """The loop has stopped the arm: the watchdog no longer acts."""
        self._words[_ARMED] = 0

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()
        self._process.kill()  # it has nothing to clean up, and ignores all other signals
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._words.release()
        self._page.close()


def watch(page: mmap.mmap, setup: dict[str, Any]) -> int:
    """Watch the loop until its process ends or has to be killed. `page` is the shared page, `setup`
    what `Watchdog` has written. Returns the exit code: 1 where the watchdog had to act."""
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
    """Write `text` to stderr and to a file beside the recording. Does nothing where that fails, as
    on a full disk or a closed terminal."""
    with contextlib.suppress(OSError):
        recording.with_suffix(".watchdog.txt").write_text(text + "\n")
    with contextlib.suppress(OSError):
        print(f"headway watchdog: {text}", file=sys.stderr, flush=True)


def act(loop: int, setup: dict[str, Any]) -> str:
    """Stop the arm, if that can be done without the loop, then kill the loop's process, of which
    `loop` is the pidfd. Returns what was done, in words."""
    said = stop_arm(setup)
    signal.pidfd_send_signal(loop, signal.SIGKILL)
    return f"{said}; the loop's process was killed"


def stop_arm(setup: dict[str, Any]) -> str:
    """Stop the arm without the loop, if its driver offers that. Returns what was done, in words."""
    try:
        arm = cast(ArmModule, plugins.load("drivers.arms", setup["kind"]))
        said = f"the arm of kind {setup['kind']} has no stop but through the loop"
        if arm.remote_stop is not None:
            arm.remote_stop(setup["table"])
            said = "the arm was stopped"
    except Exception as e:  # the loop is killed even if the driver raises
        said = f"the arm was not stopped ({type(e).__name__}: {e})"
    return said


def main(argv: list[str]) -> int:
    """Run the watchdog process. `argv`: the file descriptor of the shared page, and the setup as
    JSON. Returns the exit code of `watch`."""
    memory, setup = int(argv[0]), json.loads(argv[1])
    outlive()
    page = mmap.mmap(memory, _SIZE)
    os.close(memory)
    return watch(page, setup)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
