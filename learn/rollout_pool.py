"""Rollouts in parallel processes: `rollouts(settings, seeds, workers)` yields them as they come.

Each worker is a new process that makes its own `Runner` and is given one seed after the other. A
worker that is killed loses the seed that it was working on and nothing else: another worker runs it
again, so every seed is yielded exactly once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from headway.edge.control.settings import Settings
from headway.errors import HeadwayError, PolicyError
from headway.learn.executors.executor import require_slots
from headway.learn.rollout import Rollout, Runner

ATTEMPTS = 3  # of a seed whose workers die before it is given up
_END_S = 5.0  # how long a worker may take to end when it is told to


class Runs(Protocol):
    """What a worker makes once: `episode` gives the rollout of a seed."""

    def episode(self, seed: int) -> Rollout: ...
    def close(self) -> None: ...


def rollouts(
    settings: Settings,
    seeds: Iterable[int],
    workers: int,
    make: Callable[[Settings], Runs] = Runner,
) -> Iterator[Rollout]:
    """Yield one rollout per seed in `seeds`, in the order in which they are ready, from `workers`
    processes. `make` is called with `settings` once in each of them; both must be possible to
    pickle.

    Closing the iterator early, Ctrl-C included, ends the workers. Raises ConfigError for fewer than
    one worker, the HeadwayError that `make` or an episode raises, and PolicyError for any other
    error there and for a seed whose workers have died `ATTEMPTS` times.
    """
    require_slots(workers)
    todo = deque((seed, 1) for seed in seeds)
    context = multiprocessing.get_context("spawn")
    running: list[_Worker] = []
    try:
        while todo or any(w.seed is not None for w in running):
            busy = sum(w.seed is not None for w in running)
            while len(running) < min(workers, busy + len(todo)):
                running.append(_Worker(context, settings, make))
            for worker in running:
                if worker.seed is None and todo:
                    worker.begin(*todo.popleft())
            ready = wait([w.answers for w in running])
            for worker in [w for w in running if w.answers in ready]:
                seed, attempt = worker.seed, worker.attempt
                found = worker.take()
                if isinstance(found, Rollout):
                    if todo:  # it works on while the caller looks at this one
                        worker.begin(*todo.popleft())
                    yield found
                    continue
                running.remove(worker)
                worker.end()
                if found is not None:
                    raise found
                if seed is None:  # it died while it had nothing to do
                    continue
                if attempt == ATTEMPTS:
                    raise PolicyError(
                        f"the process that ran the episode of seed {seed} died {ATTEMPTS} times "
                        f"(exit code {worker.exit_code}): run this seed alone with `headway run "
                        f"--seed {seed}` to see why; memory that runs out is a common reason"
                    )
                todo.appendleft((seed, attempt + 1))
    finally:
        for worker in running:
            worker.tell_to_end()
        for worker in running:
            worker.end()


class _Worker:
    """A process, the `seed` that it works on (None: nothing), and which `attempt` at it that is."""

    def __init__(self, context: Any, settings: Settings, make: Callable[[Settings], Runs]) -> None:
        self.answers, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, settings, make), daemon=True)
        with _deaf_to_ctrl_c():
            self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.seed: int | None = None
        self.attempt = 0

    @property
    def exit_code(self) -> int | None:
        code: int | None = self._process.exitcode
        return code

    def begin(self, seed: int, attempt: int) -> None:
        """Let it run the episode of `seed`. That it is dead shows when the answer is taken."""
        self.seed, self.attempt = seed, attempt
        with suppress(OSError):
            self.answers.send(seed)

    def take(self) -> Rollout | HeadwayError | None:
        """Its answer; None where it has died."""
        try:
            answer: Rollout | HeadwayError = self.answers.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        self.seed = None
        return answer

    def tell_to_end(self) -> None:
        with suppress(OSError):
            self.answers.send(None)

    def end(self) -> None:
        """End the process, with force where it goes on with an episode."""
        self.answers.close()
        if self.seed is not None:
            self._process.terminate()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What starts in this block ignores Ctrl-C from its first moment, which is for this process
    alone: it ends the workers. Only the main thread can see to that; a worker that another one
    starts ignores it a second later."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(answers: Connection, settings: Settings, make: Callable[[Settings], Runs]) -> None:
    """The worker: one answer per seed, until there is None or the pipe ends. An error is the last
    answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Every core has a worker. Threads of the software renderer would only make them wait for each
    # other; it reads this when it is first used.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    runner: Runs | None = None
    try:
        runner = make(settings)
        while (seed := answers.recv()) is not None:
            answers.send(runner.episode(seed))
    except (EOFError, BrokenPipeError):  # the parent is gone
        pass
    except HeadwayError as e:
        _say(answers, e)
    except Exception as e:
        _say(answers, PolicyError(f"{type(e).__name__}: {e} (in process {os.getpid()})"))
    finally:
        if runner is not None:
            runner.close()


def _say(answers: Connection, error: HeadwayError) -> None:
    with suppress(OSError):
        answers.send(error)
