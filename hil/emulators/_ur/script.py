"""A program in URScript that runs: its threads take turns, each up to the next function that takes
time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from headway.hil.emulators._ur import functions
from headway.hil.emulators._ur.functions import Context
from headway.hil.emulators._ur.language import Compiled, translate
from headway.hil.emulators._ur.motion import RefusedError
from headway.hil.emulators._ur.robot import ProgramError, Robot

Thread = Generator[None, None, Any]
_MOST_TURNS = 20_000  # of loops in one cycle: a real controller ends a loop without sync() as well
_FILE = "<urscript>"


class _HaltError(Exception):
    pass


class List(list[Any]):
    """A list of URScript: it is copied when it is assigned."""


class Pose(List):
    """A pose `p[...]`."""


class Script:
    """The program `compiled` for the `robot`."""

    def __init__(self, compiled: Compiled, robot: Robot) -> None:
        self.name, self.secondary = compiled.name, compiled.secondary
        self._lines = compiled.lines
        self._turns = 0
        self._threads: dict[int, Thread] = {}
        self._last = 0
        context = Context(robot)
        names: dict[str, Any] = {
            "__builtins__": {},
            "tick": self._tick,
            "truth": _truth,
            "copy": _copy,
            "index": _index,
            "run": self._run,
            "kill": self._kill,
            "join": self._join,
            "Halt": _HaltError,
            "List": List,
            "Pose": Pose,
            **context.instant(),
            **context.slow(),
        }
        exec(compile(compiled.text, _FILE, "exec"), names)  # only what `translate` has made
        main: Callable[[], Thread] = names["main"]
        self._run(main())

    def step(self, robot: Robot) -> bool:
        self._turns = 0
        try:
            for number, thread in list(self._threads.items()):
                if number in self._threads and not self._advance(thread):
                    self._threads.pop(number, None)
                    if number == 1:  # threads end with the program
                        return False
        except _HaltError:
            return False
        except RefusedError:
            raise
        except ProgramError as e:
            raise ProgramError(e.text, self._line(e)) from e
        except RecursionError as e:
            raise ProgramError("functions call each other too deeply") from e
        except Exception as e:  # what a program does wrong comes as any exception of Python
            raise ProgramError(_said(e), self._line(e)) from e
        return True

    def _advance(self, thread: Thread) -> bool:
        try:
            next(thread)
        except StopIteration:
            return False
        return True

    def _line(self, error: BaseException) -> int:
        """The line of the script in which `error` came up."""
        at, line = error.__traceback__, 0
        while at is not None:
            if at.tb_frame.f_code.co_filename == _FILE:
                line = self._lines[at.tb_lineno - 1]
            at = at.tb_next
        return line

    def _tick(self) -> None:
        self._turns += 1
        if self._turns > _MOST_TURNS:
            raise ProgramError("infinite loop: a loop has no sync() or other function that waits")

    def _run(self, thread: Thread) -> int:
        self._last += 1
        self._threads[self._last] = thread
        return self._last

    def _kill(self, number: int) -> None:
        thread = self._threads.pop(number, None)
        if thread is not None:
            thread.close()

    def _join(self, number: int) -> Thread:
        while number in self._threads:
            yield


def compile_script(source: str, robot: Robot) -> Script:
    """The program that `source` is. Raises ScriptError."""
    slow = frozenset() if source.lstrip().startswith("sec ") else functions.SLOW
    compiled = translate(source, functions.INSTANT, slow)
    return Script(compiled, robot)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"wanted a boolean, found {_kind(value)}")
    return value


def _copy(value: Any) -> Any:
    if value is None:
        raise TypeError("a function that returns nothing has no value")
    return type(value)(value) if isinstance(value, list) else value


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError(f"an index wants a whole number, found {_kind(value)}")
    if value < 0:
        raise IndexError("an index wants 0 or more")
    return int(value)


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    return names.get(type(value), "nothing" if value is None else "a list")


def _said(error: Exception) -> str:
    if isinstance(error, NameError | UnboundLocalError):
        return f"a variable has no value: {str(error).replace('v_', '').replace('f_', '')}"
    if isinstance(error, ZeroDivisionError):
        return "division by zero"
    return str(error)
