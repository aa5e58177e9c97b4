"""No object is given state that its `__init__` does not know: whoever reads a class finds there all
that it holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("benchmarks", "drivers", "edge", "export", "kernels", "learn", "src/headway", "tools")
Method = ast.FunctionDef | ast.AsyncFunctionDef


def born_elsewhere(source: str) -> list[str]:
    """Attributes `CLASS.NAME` of the classes in `source` that are assigned only outside `__init__`,
    the methods that it calls, and the body of the class."""
    found = []
    for each in ast.walk(ast.parse(source)):
        if not isinstance(each, ast.ClassDef):
            continue
        methods = {m.name: m for m in each.body if isinstance(m, Method)}
        setters = {m.name for m in methods.values() if m.decorator_list}  # of properties
        known = setters | {
            n.id for part in each.body if not isinstance(part, Method) for n in ast.walk(part)
            if isinstance(n, ast.Name)
        }  # fmt: skip
        making, waiting = set[str](), {"__init__"}
        while waiting:
            name = waiting.pop()
            making.add(name)
            if name in methods:
                known |= {n.attr for n in _of_self(methods[name], ast.Store)}
                called = {n.attr for n in _of_self(methods[name], ast.Load)} & set(methods)
                waiting |= called - making
        later = (methods[m] for m in methods if m not in making)
        born = {n.attr for method in later for n in _of_self(method, ast.Store)}
        found += [f"{each.name}.{name}" for name in sorted(born - known)]
    return found


def _of_self(method: Method, context: type[ast.expr_context]) -> list[ast.Attribute]:
    return [
        n for n in ast.walk(method)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, context)
        and isinstance(n.value, ast.Name) and n.value.id == "self"
    ]  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_attribute_is_born_in_init(room):
    paths = [p for p in (ROOT / room).rglob("*.py") if not p.is_symlink()]
    found = {
        str(p.relative_to(ROOT)): born for p in paths if (born := born_elsewhere(p.read_text()))
    }
    assert found == {}


def test_what_is_looked_for_is_found():
    source = """
class A:
    declared: int
    def __init__(self): self.a = 1; self._more()
    def _more(self): self.b = 2
    def late(self): self.a = self.b = self.declared = 3; self.c = 4
    def block(self):
        with open("f") as self.d: pass
"""
    assert born_elsewhere(source) == ["A.c", "A.d"]
