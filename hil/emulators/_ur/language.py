"""URScript, a subset of it, translated into Python.

There is no interpreter of URScript but the controller's own. This one takes what programs that
servo are made of: `def`, `sec`, `thread`, `if`/`elif`/`else`, `while`, `return`, `break`,
`continue`, `pass`, `halt`, `global` and `local` variables, `run`, `kill`, `join`,
`enter_critical`, `exit_critical`; numbers, strings, `True`, `False`, lists, poses `p[...]`;
`+ - * / %`, comparisons, `and`, `or`, `xor`, `not`; calls with positional and named arguments. It
does not know structs, matrices, `switch`, `case`, `for` and expressions over several lines. A
variable that a function assigns is that of the function around it, if there is one of this name,
as in URScript.

Every function becomes a generator: what takes time in the controller, such as `sync()`, yields once
per control cycle.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from headway.hil.emulators._ur.expressions import Expressions, Function, ScriptError, tokens

_INDENT = "    "


@dataclass(frozen=True)
class Compiled:
    """Python source `text` with a generator function `main`, and, for each of its lines, the line
    of the script."""

    name: str
    text: str
    lines: list[int]
    secondary: bool


def translate(source: str, instant: Container[str], slow: Container[str]) -> Compiled:
    """The program that `source` is, which may call the functions `instant`, and `slow`, which take
    time. Raises ScriptError."""
    return _Translator(source, instant, slow).program()


class _Translator(Expressions):
    def __init__(self, source: str, instant: Container[str], slow: Container[str]) -> None:
        super().__init__(instant, slow)
        self._lines = [
            (n, found) for n, line in enumerate(source.split("\n"), 1) if (found := tokens(line, n))
        ]
        self._at = 0

    # ---- lines

    def program(self) -> Compiled:
        first = self._lines[0][1] if self._lines else [("", "")]
        name, secondary = "(line)", first[0][1] == "sec"
        if first[0][1] in ("def", "sec"):
            self._begin_line()
            name = self._header(self._f)
            self._block(("end",), 1)
            self._end_word()
            self._end_line()
        else:
            while self._at < len(self._lines):
                self._statement(1)
        if self._at < len(self._lines):
            raise ScriptError(
                "wanted nothing after the end of the program", self._lines[self._at][0]
            )
        for line, called, inside in self._calls:
            if inside.function(called) is None:
                raise ScriptError(
                    f"{called} is not defined, or not in the emulator's subset of URScript", line
                )
        out: list[tuple[int, str]] = []
        _write(self._f, 0, out)
        return Compiled(name, "\n".join(t for _, t in out), [n for n, _ in out], secondary)

    def _begin_line(self) -> None:
        if self._at >= len(self._lines):
            last = self._lines[-1][0] if self._lines else 1
            raise ScriptError("wanted `end`, found the end of the program", last)
        self._line, self._tokens = self._lines[self._at]
        self._at, self._pos = self._at + 1, 0

    def _end_word(self) -> None:
        self._begin_line()
        self._want("end")

    def _end_line(self) -> None:
        if self._pos < len(self._tokens):
            raise self._wrong("the end of the line")

    def _first_word(self) -> str:
        if self._at >= len(self._lines):
            return ""
        return self._lines[self._at][1][0][1]

    def _header(self, f: Function) -> str:
        """`def name(a, b=1):`, of the line that has begun, into `f`. Returns the name."""
        self._pos = 1
        name = self._name()
        self._want("(")
        while not self._take(")"):
            parameter = self._name()
            default = f"={self._expression()}" if self._take("=") else ""
            f.parameters.append(parameter)
            f.assigns.add(f"{parameter}")
            f.body.append((self._line, f"#{parameter}{default}"))
            if not self._take(","):
                self._want(")")
                break
        self._want(":")
        self._end_line()
        return name

    def _block(self, ends: tuple[str, ...], depth: int) -> None:
        """Statements up to a line that begins with one of `ends`."""
        before = len(self._f.body)
        while self._first_word() not in ends:
            if self._at >= len(self._lines):
                self._begin_line()
            self._statement(depth)
        if len(self._f.body) == before or depth > 0:
            self._out(depth, "pass")

    def _out(self, depth: int, text: str) -> None:
        self._f.body.append((self._line, _INDENT * depth + text))

    # ---- statements

    def _statement(self, depth: int) -> None:
        self._begin_line()
        word = self._tokens[0][1]
        if word in ("def", "thread"):
            self._define()
        elif word in ("if", "while"):
            self._pos = 1
            condition = self._condition()
            if word == "while":
                self._out(depth, f"while {condition}:")
                self._out(depth + 1, "tick()")
                self._block(("end",), depth + 1)
            else:
                self._out(depth, f"if {condition}:")
                self._branches(depth)
            self._end_word()
        elif word in ("break", "continue", "pass"):
            self._pos = 1
            self._out(depth, word)
        elif word in ("enter_critical", "exit_critical"):
            self._pos = 1  # a thread is never interrupted between two cycles
        elif word == "halt":
            self._pos = 1
            self._out(depth, "raise Halt")
        elif word == "return":
            self._pos = 1
            more = self._pos < len(self._tokens)
            self._out(depth, f"return {self._expression()}" if more else "return None")
        elif word in ("kill", "join"):
            self._pos = 1
            handle = self._expression()
            self._out(depth, f"kill({handle})" if word == "kill" else f"yield from join({handle})")
        else:
            self._simple(depth)
        self._end_line()

    def _branches(self, depth: int) -> None:
        self._block(("elif", "else", "end"), depth + 1)
        while self._first_word() == "elif":
            self._begin_line()
            self._pos = 1
            self._out(depth, f"elif {self._condition()}:")
            self._block(("elif", "else", "end"), depth + 1)
        if self._first_word() == "else":
            self._begin_line()
            self._pos = 1
            self._want(":")
            self._end_line()
            self._out(depth, "else:")
            self._block(("end",), depth + 1)

    def _condition(self) -> str:
        text = self._expression()
        self._want(":")
        self._end_line()
        return f"truth({text})"

    def _define(self) -> None:
        name = self._tokens[1][1] if len(self._tokens) > 1 else ""
        inner = Function(name, [], self._f)
        outer, self._f = self._f, inner
        outer.inner[name] = inner
        self._header(inner)
        self._block(("end",), 1)
        self._f = outer
        self._end_word()

    def _simple(self, depth: int) -> None:
        """An assignment, or a call."""
        scope = self._tokens[0][1] if self._tokens[0][1] in ("global", "local") else ""
        self._pos = 1 if scope else 0
        second = self._peek(1)
        if self._peek()[0] == "name" and second[1] in ("=", "["):
            mark = self._pos
            name = self._name()
            index = ""
            if self._take("["):
                index = f"[index({self._expression()})]"
                self._want("]")
            if self._take("="):
                if not index and scope == "global":
                    self._root().assigns.add(name)
                    self._f.assigns.add(name)
                elif not index and scope == "local":
                    self._f.local.add(name)
                elif not index:
                    self._f.assigns.add(name)
                self._out(depth, f"v_{name}{index} = copy({self._expression()})")
                return
            self._pos = mark
        self._out(depth, self._expression())

    def _root(self) -> Function:
        f = self._f
        while f.outer is not None:
            f = f.outer
        return f


def _write(f: Function, depth: int, out: list[tuple[int, str]]) -> None:
    """The Python of `f` and of the functions inside it."""
    first = f.body[0][0] if f.body else 1
    heads = [text[1:] for _, text in f.body if text.startswith("#")]
    arguments = ", ".join(f"v_{head}" for head in heads)
    name = "main" if f.outer is None else f"f_{f.name}"
    out.append((first, f"{_INDENT * depth}def {name}({arguments}):"))
    inside = _INDENT * (depth + 1)
    outer = sorted(n for n in f.assigns if f.owner(n) is not f and n not in f.local)
    if outer:
        out.append((first, f"{inside}nonlocal {', '.join(f'v_{n}' for n in outer)}"))
    if f.outer is None and f.assigns:  # what only a function inside makes `global` is bound here
        bound = " = ".join(f"v_{n}" for n in sorted(f.assigns))
        out.append((first, f"{inside}if False: {bound} = None"))
    for inner in f.inner.values():
        _write(inner, depth + 1, out)
    out.extend((n, _INDENT * depth + text) for n, text in f.body if not text.startswith("#"))
    out.append((first, f"{inside}return None"))
    out.append((first, f"{inside}yield"))  # makes it a generator
