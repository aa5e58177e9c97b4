"""The interface of executors: each runs calls, as many at a time as it has slots, and tells what
becomes of them. A call may be lost with its process or computer; whoever started it decides whether
to start it again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from headway.errors import ConfigError, HeadwayError, OutputError, PolicyError
from headway.learn import files

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")
Tell = Callable[[Any], None]
Call = Callable[[Tell], Any]
"""What is run: it can be pickled, is given a function to tell of its progress, and returns a value
that can be pickled."""


@dataclass(frozen=True)
class Told:
    """A call tells of its progress."""

    key: str
    note: Any


@dataclass(frozen=True)
class Done:
    """A call returned `value`."""

    key: str
    value: Any


@dataclass(frozen=True)
class Failed:
    """A call raised: `error` as one line, `trace` for whoever mends it; `full`: because a disk is
    full."""

    key: str
    error: str
    trace: str
    full: bool = False


@dataclass(frozen=True)
class Lost:
    """A call ended without a word: its process was killed, or its computer is gone."""

    key: str
    why: str


News = Told | Done | Failed | Lost


class Executor(Protocol):
    """Runs calls. Leaving `with executor:` stops whatever still runs, also after an exception."""

    slots: int  # calls that run at a time

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exc: object) -> None: ...

    def start(self, key: str, call: Call, log: str = "") -> None:
        """Start `call`, as `key` in the news. What it prints goes to the end of the file `log`, as
        far as the executor can do that."""

    def wait(self, timeout_s: float) -> list[News]:
        """What has happened since the last call, in its order; waits up to `timeout_s` for
        something to happen."""


def require_slots(count: int) -> None:
    """Raises ConfigError for fewer than one call or worker at a time."""
    if count < 1:
        raise ConfigError(f"wanted at least one worker, found {count}: name a number")


def failure(key: str, error: BaseException, trace: str) -> Failed:
    """What is told of an exception."""
    plain = isinstance(error, HeadwayError)
    said = str(error) if plain else f"{type(error).__name__}: {error}"
    return Failed(key, said, trace, files.is_full(error))


@dataclass(frozen=True)
class _On:
    """A function with its item, as a call."""

    function: Callable[[Any], Any]
    item: Any

    def __call__(self, tell: Tell) -> Any:
        return self.function(self.item)


def gather(
    executor: Executor,
    calls: Mapping[str, Call],
    told: Callable[[str, Any], object] = lambda key, note: None,
    log: Callable[[str], str] = lambda key: "",
    losses: int = 3,
) -> Iterator[tuple[str, Any]]:
    """Run `calls` and yield the key and the value of each, as they come. `told` is called with what
    one tells of its progress; `log` gives the file for what it prints. A lost call is started
    again, up to `losses` times, so that each key comes exactly once. Raises PolicyError when a call
    fails or is lost too often, OutputError for a full disk."""
    waiting, lost = deque(calls), Counter[str]()
    running: set[str] = set()
    while waiting or running:
        while waiting and len(running) < executor.slots:
            key = waiting.popleft()
            executor.start(key, calls[key], log(key))
            running.add(key)
        for news in executor.wait(1.0):
            key = news.key
            if isinstance(news, Told):
                told(key, news.note)
                continue
            running.discard(key)
            if isinstance(news, Done):
                yield key, news.value
            elif isinstance(news, Failed):
                kind = OutputError if news.full else PolicyError
                raise kind(f"{key} failed: {news.error}\n{news.trace}".rstrip())
            else:
                lost[key] += 1
                if lost[key] > losses:
                    raise PolicyError(f"{key} was lost {lost[key]} times, last: {news.why}")
                waiting.append(key)


def scatter(
    executor: Executor, function: Callable[[I], T], items: Sequence[I], losses: int = 3
) -> Iterator[tuple[int, T]]:
    """Run `function` on every one of `items` and yield the index and the value of each, as they
    come: rollouts of some seeds, labels of some recordings. `function`, items and values can be
    pickled. What is lost, and what is raised: as in `gather`."""
    at = {f"part {i} of {len(items)}": i for i in range(len(items))}
    calls = {key: _On(function, items[i]) for key, i in at.items()}
    for key, value in gather(executor, calls, losses=losses):
        yield at[key], value
