"""URScript, a subset of it, translated into Python.

There is no interpreter of URScript but the controller's own. This one takes what programs that servo
are made of: `def`, `sec`, `thread`, `if`/`elif`/`else`, `while`, `return`, `break`, `continue`,
`pass`, `halt`, `global` and `local` variables, `run`, `kill`, `join`, `enter_critical`,
`exit_critical`; numbers, strings, `True`, `False`, lists, poses `p[...]`; `+ - * / %`, comparisons,
`and`, `or`, `xor`, `not`; calls with positional and named arguments. It does not know structs,
matrices, `switch`, `case`, `for` and expressions over several lines. A variable that a function
assigns is that of the function around it, if there is one of this name, as in URScript.

Every function becomes a generator: what takes time in the controller, such as `sync()`, yields once
per control cycle.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r'|(?P<text>"[^"]*"|\'[^\']*\')|(?P<sign>==|!=|<=|>=|[-+*/%()\[\],=<>:]))'
)
_COMPARE = ("==", "!=", "<", ">", "<=", ">=")
_WORDS = {
    *"def sec thread end if elif else while return break continue pass halt".split(),
    *"global local run kill join and or xor not True False".split(),
}
_INDENT = "    "


class ScriptError(Exception):
    """Source that does not compile, at a `line` from 1."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.text, self.line = text, line


@dataclass
class _Function:
    """A function in work: its `name`, `parameters`, the variables it `assigns`, those that it
    declares `local`, the functions inside it, and what it is inside of."""

    name: str
    parameters: list[str]
    outer: _Function | None
    assigns: set[str] = field(default_factory=set)
    local: set[str] = field(default_factory=set)
    inner: dict[str, _Function] = field(default_factory=dict)
    body: list[tuple[int, str]] = field(default_factory=list)  # (line of the source, Python)

    def owner(self, name: str) -> _Function | None:
        """The function, from the outermost, whose variable `name` is; None: it is nobody's yet."""
        found = self.outer.owner(name) if self.outer is not None else None
        mine = name in self.assigns | self.local or name in self.parameters
        return found if found is not None and name not in self.local else self if mine else None

    def function(self, name: str) -> _Function | None:
        """The function that `name` calls."""
        if name in self.inner:
            return self.inner[name]
        return self.outer.function(name) if self.outer is not None else None


@dataclass(frozen=True)
class Compiled:
    """Python source `text` with a generator function `main`, and, for each of its lines, the line of
    the script."""

    name: str
    text: str
    lines: list[int]
    secondary: bool


def translate(source: str, instant: Container[str], slow: Container[str]) -> Compiled:
    """The program that `source` is, which may call the functions `instant`, and `slow`, which take
    time. Raises ScriptError."""
    return _Translator(source, instant, slow).program()


class _Translator:
    def __init__(self, source: str, instant: Container[str], slow: Container[str]) -> None:
        self._instant, self._slow = instant, slow
        self._lines = [
            (n, tokens)
            for n, line in enumerate(source.split("\n"), 1)
            if (tokens := _tokens(line, n))
        ]
        self._at = 0
        self._line = 0
        self._tokens: list[tuple[str, str]] = []
        self._pos = 0
        self._f = _Function("main", [], None)
        self._calls: list[tuple[int, str, _Function]] = []

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

    def _header(self, f: _Function) -> str:
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
        inner = _Function(name, [], self._f)
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

    def _root(self) -> _Function:
        f = self._f
        while f.outer is not None:
            f = f.outer
        return f

    # ---- expressions: or, xor; and; not; comparison; sum; product; sign; item

    def _expression(self) -> str:
        left = self._and()
        while (word := self._peek()[1]) in ("or", "xor"):
            self._pos += 1
            right = self._and()
            left = f"(truth({left}) {'or' if word == 'or' else '!='} truth({right}))"
        return left

    def _and(self) -> str:
        left = self._not()
        while self._take("and"):
            left = f"(truth({left}) and truth({self._not()}))"
        return left

    def _not(self) -> str:
        if self._take("not"):
            return f"(not truth({self._not()}))"
        left = self._sum()
        if (sign := self._peek()[1]) in _COMPARE and self._peek()[0] == "sign":
            self._pos += 1
            left = f"({left} {sign} {self._sum()})"
        return left

    def _sum(self) -> str:
        left = self._product()
        while (sign := self._peek()[1]) in ("+", "-"):
            self._pos += 1
            left = f"({left} {sign} {self._product()})"
        return left

    def _product(self) -> str:
        left = self._signed()
        while (sign := self._peek()[1]) in ("*", "/", "%"):
            self._pos += 1
            left = f"({left} {sign} {self._signed()})"
        return left

    def _signed(self) -> str:
        if self._take("-"):
            return f"(-{self._signed()})"
        if self._take("+"):
            return self._signed()
        text = self._item()
        while self._take("["):
            text = f"{text}[index({self._expression()})]"
            self._want("]")
        return text

    def _item(self) -> str:
        kind, word = self._peek()
        if kind == "number":
            self._pos += 1
            return str(float(word)) if re.search(r"[.eE]", word) else str(int(word))
        if kind == "text":
            self._pos += 1
            return repr(word[1:-1])
        if word in ("True", "False"):
            self._pos += 1
            return word
        if self._take("("):
            text = self._expression()
            self._want(")")
            return f"({text})"
        if self._take("["):
            return f"List([{self._items(']')}])"
        if word == "p" and self._peek(1)[1] == "[":
            self._pos += 2
            return f"Pose([{self._items(']')}])"
        if self._take("run"):
            return self._run()
        name = self._name()
        if self._take("("):
            return self._call(name, self._items(")"))
        return f"v_{name}"

    def _run(self) -> str:
        name = self._name()
        self._want("(")
        self._calls.append((self._line, name, self._f))
        return f"run(f_{name}({self._items(')')}))"

    def _call(self, name: str, arguments: str) -> str:
        if self._f.function(name) is None and name in self._slow:
            return f"(yield from {name}({arguments}))"
        if self._f.function(name) is None and name in self._instant:
            return f"{name}({arguments})"
        self._calls.append((self._line, name, self._f))
        return f"(yield from f_{name}({arguments}))"

    def _items(self, close: str) -> str:
        """Expressions and named arguments up to `close`."""
        found = []
        while not self._take(close):
            named = self._peek()[0] == "name" and self._peek(1)[1] == "="
            name = f"{self._name()}=" if named and self._pos + 1 < len(self._tokens) else ""
            if name:
                self._want("=")
            found.append(name + self._expression())
            if not self._take(","):
                self._want(close)
                break
        return ", ".join(found)

    # ---- tokens

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._pos + ahead
        return self._tokens[at] if at < len(self._tokens) else ("", "")

    def _take(self, word: str) -> bool:
        found = self._peek()[1] == word and self._peek()[0] != "text"
        self._pos += found
        return found

    def _want(self, word: str) -> None:
        if not self._take(word):
            raise self._wrong(f"`{word}`")

    def _name(self) -> str:
        kind, word = self._peek()
        if kind != "name" or word in _WORDS:
            raise self._wrong("a name")
        self._pos += 1
        return word

    def _wrong(self, wanted: str) -> ScriptError:
        found = self._peek()[1] or "the end of the line"
        return ScriptError(f"wanted {wanted}, found {found}", self._line)


def _tokens(line: str, number: int) -> list[tuple[str, str]]:
    """Kinds and texts of the tokens of a `line`, without its comment. Raises ScriptError."""
    found, at = [], 0
    while at < len(line):
        if not line[at:].strip() or line[at:].lstrip().startswith("#"):
            break
        match = _TOKEN.match(line, at)
        if match is None or match.lastgroup is None:
            raise ScriptError(f"syntax error at {line[at:].strip()[:20]!r}", number)
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _write(f: _Function, depth: int, out: list[tuple[int, str]]) -> None:
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
