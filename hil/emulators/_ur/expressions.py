"""Expressions of URScript, translated into Python: tokens, and what is made of them.

Every value is a variable `v_NAME` of Python, every function of the program a generator `f_NAME`.
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
    *("def", "sec", "thread", "end", "if", "elif", "else", "while", "return", "break", "continue"),
    *("pass", "halt", "global", "local", "run", "kill", "join", "and", "or", "xor", "not"),
    *("True", "False"),
}


_NAMED = "\0"  # before the name of an argument, until it is known whose it is


class ScriptError(Exception):
    """Source that does not compile, at a `line` from 1."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.text, self.line = text, line


@dataclass
class Function:
    """A function in work: its `name`, `parameters`, the variables it `assigns`, those that it
    declares `local`, the functions inside it, and what it is inside of."""

    name: str
    parameters: list[str]
    outer: Function | None
    assigns: set[str] = field(default_factory=set)
    local: set[str] = field(default_factory=set)
    inner: dict[str, Function] = field(default_factory=dict)
    body: list[tuple[int, str]] = field(default_factory=list)  # (line of the source, Python)

    def owner(self, name: str) -> Function | None:
        """The function, from the outermost, whose variable `name` is; None: it is nobody's yet."""
        found = self.outer.owner(name) if self.outer is not None else None
        mine = name in self.assigns | self.local or name in self.parameters
        return found if found is not None and name not in self.local else self if mine else None

    def function(self, name: str) -> Function | None:
        """The function that `name` calls."""
        if name in self.inner:
            return self.inner[name]
        return self.outer.function(name) if self.outer is not None else None


class Expressions:
    """The tokens of one line of a program that may call the functions `instant`, and `slow`, which
    take time, and the function of the program that the line is in."""

    def __init__(self, instant: Container[str], slow: Container[str]) -> None:
        self._instant, self._slow = instant, slow
        self._line = 0
        self._tokens: list[tuple[str, str]] = []
        self._pos = 0
        self._f = Function("main", [], None)
        self._calls: list[tuple[int, str, Function]] = []

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
        arguments = self._items(")").replace(_NAMED, "v_")
        return f"run(f_{name}({arguments}))"

    def _call(self, name: str, arguments: str) -> str:
        if self._f.function(name) is None and name in self._slow:
            return f"(yield from {name}({arguments.replace(_NAMED, '')}))"
        if self._f.function(name) is None and name in self._instant:
            return f"{name}({arguments.replace(_NAMED, '')})"
        self._calls.append((self._line, name, self._f))
        return f"(yield from f_{name}({arguments.replace(_NAMED, 'v_')}))"

    def _items(self, close: str) -> str:
        """Expressions and named arguments up to `close`."""
        found = []
        while not self._take(close):
            named = self._peek()[0] == "name" and self._peek(1)[1] == "="
            name = f"{self._name()}=" if named and self._pos + 1 < len(self._tokens) else ""
            if name:
                self._want("=")
            found.append((f"{_NAMED}{name}" if name else "") + self._expression())
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


def tokens(line: str, number: int) -> list[tuple[str, str]]:
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
