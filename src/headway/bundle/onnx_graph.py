"""Graphs in ONNX files: whether their nodes can be computed one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from headway.bundle.onnx_tensor import LARGEST, External, shape_size, tensor
from headway.bundle.protobuf import FormatError, Reader, Value, bytes_of, int_of, text_of

DEEPEST = 16  # graphs inside graphs
MOST_NODES = 250_000  # with those of functions, wherever they are called
_FROM_SHAPE = {"ConstantOfShape": 0, "Expand": 1}  # the input that says how large the output is
_BY_ATTRIBUTE = {"RandomNormal", "RandomUniform"}  # whose attribute `shape` says it

Function = tuple[str, str, str]  # domain, name, overload
Sized = tuple[str, str]  # what is made of a shape, for messages, and the name of that shape


@dataclass(slots=True)
class Node:
    """A node: what it is for messages, the names it reads and makes, what it calls."""

    name: str = ""
    op: str = ""
    domain: str = ""
    overload: str = ""
    reads: list[str] = field(default_factory=list)
    makes: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)  # that graphs inside it read from outside
    sized: list[Sized] = field(default_factory=list)  # in graphs inside it, by shapes from outside
    shape: list[int] | None = None  # its attribute of that name
    constant: list[int] | None = None  # of a node Constant

    @property
    def standard(self) -> bool:
        """Whether ONNX itself says what its operator does."""
        return self.domain in ("", "ai.onnx")

    def __str__(self) -> str:
        return f"{self.op} {self.name!r}" if self.name else f"{self.op} of {self.makes[:1]}"


@dataclass(slots=True)
class Attribute:
    """An attribute: its name, its whole numbers, and those of its tensor if that is a short one."""

    name: str = ""
    ints: list[int] = field(default_factory=list)
    held: list[int] | None = None


class Functions:
    """What the model's functions, and graphs, call; `expanded` counts what comes of it."""

    def __init__(self) -> None:
        self.bodies: dict[Function, dict[Function, int]] = {}

    def expanded(self, calls: dict[Function, int]) -> int:
        """How many nodes there are where every call in `calls` (with its number) is replaced by
        the function's own nodes, and so on. Nodes that are no call count as they are. Raises
        FormatError for functions that call themselves, and for too many nodes."""
        sizes: dict[Function, int] = {}
        doing: set[Function] = set()
        stack = [f for f in calls if f in self.bodies]
        while stack:
            function = stack[-1]
            if function in sizes:
                stack.pop()
                continue
            inner = self.bodies[function]
            open_ = [f for f in inner if f in self.bodies and f not in sizes]
            if open_ and function in doing:
                raise FormatError(f"its function {function[1]!r} calls itself")
            if open_:
                doing.add(function)
                stack += open_
                continue
            sizes[function] = self._sum(inner, sizes)
            stack.pop()
        return self._sum(calls, sizes)

    def _sum(self, calls: dict[Function, int], sizes: dict[Function, int]) -> int:
        total = sum(n * sizes.get(f, 1) for f, n in calls.items())
        if total > MOST_NODES:
            raise FormatError(f"it has more than {MOST_NODES} nodes, with those of its functions")
        return total


class GraphReader:
    """Reads the graphs of one model. `reader` bounds the work, `external` and `functions` collect
    what they say."""

    def __init__(self, reader: Reader, external: External, functions: Functions) -> None:
        self._reader, self._external, self._functions = reader, external, functions
        self._calls: dict[Function, int] = {}
        self._defaults: dict[str, Attribute] = {}  # of the function that is read
        self._nodes = 0

    def model(self, data: memoryview) -> dict[Function, int]:
        """Check the model's graph `data`; returns how often it has each kind of node, with those of
        graphs inside it. Raises FormatError."""
        calls: dict[Function, int] = {}
        self._calls = calls
        whole = Node()
        self._graph(data, 0, whole)
        if whole.free:
            raise FormatError(f"nothing in it makes {sorted(whole.free)[0]!r}, which a node reads")
        return calls

    def function(self, data: memoryview) -> None:
        """Check the function `data`, and note it. Raises FormatError."""
        calls: dict[Function, int] = {}
        self._calls = calls
        given: set[str] = set()
        bodies, defaults = [], []
        name = domain = overload = ""
        for number, value in self._reader.fields(data):
            if number == 1:
                name = text_of(value)
            elif number == 10:
                domain = text_of(value)
            elif number == 13:
                overload = text_of(value)
            elif number == 4:
                given.add(text_of(value))
            elif number == 7:
                bodies.append(bytes_of(value))
            elif number == 11:
                defaults.append(bytes_of(value))
            elif number == 12:
                self._value_info(bytes_of(value))
        # What its attributes are where a call does not say; a graph among them reads what is here.
        usual = Node(op="Function", name=name)
        found = [self._attribute(each, usual, 0) for each in defaults]
        self._defaults = {each.name: each for each in found}
        nodes = [*(self._node(each, 0) for each in bodies), usual]
        self._defaults = {}
        free = _ordered(nodes, given)
        if free:
            raise FormatError(f"nothing in its function {name!r} makes {sorted(free)[0]!r}")
        _not_huge(nodes, given, {})
        function = (domain, name, overload)
        if function in self._functions.bodies:
            raise FormatError(f"it has two functions {name!r} of the domain {domain!r}")
        self._functions.bodies[function] = calls

    def _graph(self, data: memoryview, depth: int, holder: Node) -> None:
        """Check a graph, `depth` deep in others, and note in the node `holder`, which has it, what
        it reads from outside."""
        if depth > DEEPEST:
            raise FormatError(f"it has graphs inside graphs, more than {DEEPEST} deep")
        nodes: list[Node] = []
        given: set[str] = set()
        shapes: dict[str, list[int]] = {}
        constants: set[str] = set()
        for number, value in self._reader.fields(data):
            if number == 1:
                nodes.append(self._node(bytes_of(value), depth))
            elif number == 5:
                name, numbers = tensor(bytes_of(value), self._reader, self._external)
                if name in constants:
                    raise FormatError(f"it has two constants {name!r}")
                constants.add(name)
                given.add(name)
                if numbers is not None:
                    shapes[name] = numbers
            elif number == 15:
                given.add(self._sparse(bytes_of(value)))
            elif number in (11, 12, 13):
                name = self._value_info(bytes_of(value))
                if number == 11:
                    given.add(name)
        holder.free |= _ordered(nodes, given)
        holder.sized += _not_huge(nodes, given, shapes)

    def _node(self, data: memoryview, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise FormatError(f"it has more than {MOST_NODES} nodes")
        node = Node()
        attributes = []
        for number, value in self._reader.fields(data):
            if number == 1:
                node.reads.append(text_of(value))
            elif number == 2:
                node.makes.append(text_of(value))
            elif number == 3:
                node.name = text_of(value)
            elif number == 4:
                node.op = text_of(value)
            elif number == 7:
                node.domain = text_of(value)
            elif number == 8:
                node.overload = text_of(value)
            elif number == 5:
                attributes.append(bytes_of(value))
        if not node.op or not any(node.makes):
            raise FormatError(f"it has a node without an operator or an output, {node.name!r}")
        for each in attributes:
            found = self._attribute(each, node, depth)
            if found.name == "shape":
                node.shape = found.ints
            elif node.op == "Constant" and found.name in ("value", "value_ints"):
                node.constant = found.held if found.name == "value" else found.ints
        function = (node.domain, node.op, node.overload)
        self._calls[function] = self._calls.get(function, 0) + 1
        return node

    def _attribute(self, data: memoryview, node: Node, depth: int) -> Attribute:
        """Check an attribute of `node`, or of the function that the node stands for."""
        made = Attribute()
        named = ""
        seen: set[int] = set()
        for number, value in self._reader.fields(data):
            if number in (5, 6, 22) and number in seen:  # a parser would make one of the two
                raise FormatError(f"the node {node} has two values of one attribute")
            seen.add(number)
            if number == 1:
                made.name = text_of(value)
            elif number in (5, 10):
                _, made.held = tensor(bytes_of(value), self._reader, self._external)
            elif number in (6, 11):
                self._graph(bytes_of(value), depth + 1, node)
            elif number in (22, 23):
                self._sparse(bytes_of(value))
            elif number == 8:
                made.ints += self._reader.numbers(value)
            elif number == 21:
                named = text_of(value)
        if named and named in self._defaults:  # it is whatever that attribute of the function is
            made = replace(self._defaults[named], name=made.name)
        return made

    def _sparse(self, data: memoryview) -> str:
        """Check a sparse tensor, which engines may make dense; returns its name."""
        dims: list[int] = []
        name = ""
        seen: set[int] = set()
        for number, value in self._reader.fields(data):
            if number in seen and number in (1, 2):
                raise FormatError(f"sparse tensor {name!r} has two of one part")
            seen.add(number)
            if number in (1, 2):
                found, _ = tensor(bytes_of(value), self._reader, self._external)
                name = found if number == 1 else name
            elif number == 3:
                dims += self._reader.numbers(value)
        _wanted_size(f"sparse tensor {name!r}", dims)
        return name

    def _value_info(self, data: memoryview) -> str:
        """Check what is said of an input, output or value; returns its name."""
        name = ""
        dims: list[int] = []
        for number, value in self._reader.fields(data):
            if number == 1:
                name = text_of(value)
            elif number == 2:
                dims = self._type(bytes_of(value), 0)
        _wanted_size(f"value {name!r}", dims)
        return name

    def _type(self, data: memoryview, depth: int) -> list[int]:
        """The fixed sizes in a TypeProto; those that are open count as 1."""
        if depth > DEEPEST:
            raise FormatError("it has types inside types without end")
        dims: list[int] = []
        for number, value in self._reader.fields(data):
            if number in (1, 8):  # a tensor, dense or sparse
                for inner, shape in self._reader.fields(bytes_of(value)):
                    if inner == 2:
                        dims += [
                            self._dim(d) for n, d in self._reader.fields(bytes_of(shape)) if n == 1
                        ]
            elif number in (4, 9):  # a sequence or an optional of something
                for inner, kind in self._reader.fields(bytes_of(value)):
                    if inner == 1:
                        dims += self._type(bytes_of(kind), depth + 1)
        return dims

    def _dim(self, value: Value) -> int:
        found = [int_of(v) for n, v in self._reader.fields(bytes_of(value)) if n == 1]
        # Some exporters write -1 or 0 for a size that is open.
        return max(found[-1], 1) if found else 1


def _wanted_size(what: str, dims: list[int]) -> None:
    """Raises FormatError where a dense tensor of the shape `dims` would be huge."""
    size = shape_size(what, dims)
    if size * 4 > LARGEST:
        raise FormatError(f"{what} has the absurd shape {dims}")


def _not_huge(nodes: list[Node], given: set[str], shapes: dict[str, list[int]]) -> list[Sized]:
    """Raises FormatError for a node that makes a huge tensor of a shape that is a constant: one of
    `shapes`, by name, or what one of the `nodes` is. Returns those whose shape neither they nor
    `given` have, with its name: it may be a constant outside."""
    made = {name for node in nodes for name in node.makes}
    same: dict[str, str] = {}
    asked: list[Sized] = []
    for node in nodes:
        if node.constant is not None and node.makes:
            shapes[node.makes[0]] = node.constant
        elif node.op == "Identity" and node.standard and node.makes and node.reads:
            same[node.makes[0]] = node.reads[0]
        if node.shape is not None and node.op in _BY_ATTRIBUTE and node.standard:
            _wanted_size(f"node {node} makes what", node.shape)
        asked += node.sized
        at = _FROM_SHAPE.get(node.op) if node.standard else None
        if at is not None and at < len(node.reads):
            asked.append((f"node {node} makes what", node.reads[at]))
    outside = []
    for what, name in asked:
        name = _source(name, same)
        if name in shapes:
            _wanted_size(what, shapes[name])
        elif name not in made and name not in given:
            outside.append((what, name))
    return outside


def _source(name: str, same: dict[str, str]) -> str:
    """What the value `name` is another name of: `same` has, without a cycle, of what each is."""
    way = []
    while name in same:
        way.append(name)
        name = same[name]
    for each in way:  # so that the next one on it has no way to go
        same[each] = name
    return name


def _ordered(nodes: list[Node], given: Iterable[str]) -> set[str]:
    """Check that the `nodes` can be computed in some order. Returns the names which they read that
    neither they nor `given` have. Raises FormatError for a cycle, and for a name that is made
    twice."""
    maker: dict[str, int] = {}
    known = set(given)
    for k, node in enumerate(nodes):
        for name in filter(None, node.makes):
            if name in maker or name in known:
                raise FormatError(f"two things in it make {name!r}, one of them the node {node}")
            maker[name] = k
    free: set[str] = set()
    waits = [0] * len(nodes)
    waiting: dict[int, list[int]] = {}
    for k, node in enumerate(nodes):
        for name in {*node.reads, *node.free} - {""}:
            source = maker.get(name)
            if source is not None:
                waits[k] += 1
                waiting.setdefault(source, []).append(k)
            elif name not in known:
                free.add(name)
    ready = deque(k for k, n in enumerate(waits) if n == 0)
    done = 0
    while ready:
        k = ready.popleft()
        done += 1
        for other in waiting.get(k, ()):
            waits[other] -= 1
            if waits[other] == 0:
                ready.append(other)
    if done < len(nodes):
        stuck = next(node for node, n in zip(nodes, waits, strict=True) if n > 0)
        raise FormatError(f"its nodes wait for each other in a cycle, one of them {stuck}")
    return free
