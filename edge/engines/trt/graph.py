"""An ONNX model as TensorRT takes it: the same bytes in, the same numbers out.

TensorRT has no 16-bit integers, of uint8 it can only convert an input, and int8 weights it takes
only to dequantise them. So an input of uint16 becomes one of uint8 with a last dimension of 2,
which is the same memory (little-endian), and is put together by int32 arithmetic; weights of int8
and uint8 that are only looked up, as embeddings are, become int32; what moves such numbers around
before a `Cast`, such as `Slice`, does so as int32. Nothing is rounded: in ONNX Runtime not a bit
differs (`tests/test_engine_graph.py`).

Weights in other files stay there. Needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.edge.engines.options import Precision
from headway.edge.engines.trt.contents import Contents, read_inside
from headway.errors import BundleError, Missing, SpecMismatch

REVISION = 1  # of what is done to a graph; part of the cache key
# Operators that move numbers and do not look at them, with the inputs that hold numbers (others
# hold positions and shapes; None: all of them).
_MOVE: dict[str, tuple[int, ...] | None] = {
    "Concat": None, "Expand": (0,), "Flatten": (0,), "Gather": (0,), "GatherElements": (0,),
    "GatherND": (0,), "Identity": (0,),
    "Reshape": (0,), "Slice": (0,), "Split": (0,), "Squeeze": (0,), "Transpose": (0,),
    "Unsqueeze": (0,), "DepthToSpace": (0,), "SpaceToDepth": (0,), "Tile": (0,),
}  # fmt: skip
# Numbers of inputs and outputs that TensorRT 10 and 11 have.
_TAKEN = ("float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool", "uint16")
# Operators whose float inputs TensorRT keeps as weights. What others read, such as the sizes of a
# Resize or the bounds of a Clip, becomes part of the network when it is parsed.
_WEIGHTS = frozenset({
    "Add", "BatchNormalization", "Conv", "ConvTranspose", "Div", "Gemm", "GroupNormalization",
    "InstanceNormalization", "LayerNormalization", "MatMul", "Mul", "Sub",
})  # fmt: skip
_LARGEST = 2**31 - 1  # bytes of an ONNX file, a limit of protobuf


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model for TensorRT: `content` without weights of other files, which are looked for beside
    `path`. `pairs` are the inputs of uint16 that became pairs of uint8. `precision` is what the
    numbers of the graph are, as far as its products and sums go."""

    content: bytes
    path: Path
    pairs: frozenset[str]
    precision: str
    layers: int


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as e:
        raise Missing(
            f"preparing a model for TensorRT wants onnx, found none ({e}): pip install "
            "'headway[tensorrt]'"
        ) from None
    return onnx


def read(path: Path) -> Any:
    """The ONNX model at `path` without weights of other files. Raises Missing without onnx,
    BundleError for what is no model."""
    onnx = _onnx()
    try:
        if path.stat().st_size > _LARGEST:
            raise BundleError(
                f"{path} is larger than 2 GB, which ONNX cannot be: export it with its weights in "
                "a file beside it"
            )
        model = onnx.load(str(path), load_external_data=False)
    except OSError as e:
        raise BundleError(f"cannot read the model {path}: {e.strerror}") from None
    except BundleError:
        raise
    except Exception as e:  # protobuf's errors are not those of onnx
        raise BundleError(f"{path} is no ONNX model: {e}: export it again") from None
    if not model.graph.output:
        raise BundleError(f"{path} is no ONNX model: it has no outputs: export it again")
    return model


def files(path: Path) -> tuple[str, ...]:
    """The names of the files beside `path` that hold weights of the model there. Raises as `read`,
    and BundleError for a file that is not beside it."""
    found: dict[str, None] = {}
    for tensor in Contents(read(path)).tensors():
        for entry in tensor.external_data:
            if entry.key == "location":
                found[entry.value] = None
    for name in found:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(
                f"{path} wants weights from {name}, which is outside its folder: export it with "
                "its weights beside it"
            )
        if not (path.parent / name).is_file():
            raise BundleError(
                f"{path} wants its weights in {name} beside it, found no such file: copy it too"
            )
    return tuple(sorted(found))


def prepare(path: Path) -> Prepared:
    """The model at `path` as TensorRT takes it. Raises Missing without onnx, BundleError for what
    is no model, SpecMismatch for inputs that it cannot be given, with the node and what to do."""
    onnx = _onnx()
    model = read(path)
    graph = model.graph
    pairs, changed = [], False
    held = {t.name for t in graph.initializer}
    for tensor in graph.input:
        if tensor.name in held:
            continue
        dtype = _dtype(onnx, tensor)
        if dtype not in _TAKEN:
            raise SpecMismatch(
                f"{path}: TensorRT has no {dtype}, which the input `{tensor.name}` is: export the "
                "model with an input of float32 or int32"
            )
        if dtype == "uint16":
            _halve(onnx, graph, tensor, path)
            pairs.append(tensor.name)
            changed = True
        elif dtype == "uint8":
            changed |= _widen(onnx, graph, tensor, path)
    changed |= _look_up(onnx, graph, path)
    for tensor in graph.output:
        if _dtype(onnx, tensor) in ("uint16", "float64", "string"):
            raise SpecMismatch(
                f"{path}: TensorRT has no {_dtype(onnx, tensor)}, which the output "
                f"`{tensor.name}` is: export the model with an output of float32 or int32"
            )
    if changed:
        del graph.value_info[:]  # the types of what is moved are others now
    return Prepared(
        model.SerializeToString(), path, frozenset(pairs), precision_of(model), len(graph.node)
    )


def blank(prepared: Prepared) -> bytes:
    """The graph of `prepared` without what may differ between models of the same network: the
    numbers of its weights, and what is said about it. Everything else is there, also numbers that
    lie in other files. Raises BundleError where these cannot be read."""
    onnx = _onnx()
    model = onnx.load_model_from_string(prepared.content)
    for name in ("producer_name", "producer_version", "doc_string", "metadata_props", "domain"):
        model.ClearField(name)
    graph = model.graph
    kept = {t.name for t in graph.output} | set(_read_by_others(graph))
    for tensor in graph.initializer:
        if tensor.name not in kept:
            bare = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            tensor.CopyFrom(bare)
    for tensor in Contents(model).tensors():
        _load(onnx, tensor, prepared.path)
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    del graph.value_info[:]
    return bytes(model.SerializeToString(deterministic=True))


def _read_by_others(graph: Any) -> Iterator[str]:
    """Names that operators read which keep no weights, in `graph` and in the graphs inside it; and
    those of what is no float."""
    proto = _onnx().TensorProto
    floats = (proto.FLOAT, proto.FLOAT16, proto.BFLOAT16)
    yield from (t.name for t in graph.initializer if t.data_type not in floats)
    yield from read_inside(graph)
    for node in graph.node:
        if _operator(node) not in _WEIGHTS:
            yield from node.input


def _operator(node: Any) -> str:
    """What the node does, "" where a function or somebody else's operator says it."""
    return str(node.op_type) if node.domain in ("", "ai.onnx") else ""


def _load(onnx: Any, tensor: Any, path: Path) -> None:
    """Let `tensor` have its numbers itself, if they lie in a file beside `path`."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    try:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
    except (OSError, ValueError) as e:
        raise BundleError(f"cannot read the weights of {path}: {e}: copy all its files") from None
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _dtype(onnx: Any, tensor: Any) -> str:
    kind = tensor.type.tensor_type.elem_type
    name: str = onnx.TensorProto.DataType.Name(kind).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _free(graph: Any, name: str) -> str:
    """A name like `name` that nothing in `graph` has."""
    taken = {n for node in graph.node for n in (*node.input, *node.output)}
    taken |= {t.name for t in (*graph.input, *graph.initializer)}
    while name in taken:
        name += "_"
    return name


def _widen(onnx: Any, graph: Any, tensor: Any, path: Path) -> bool:
    """Let what moves the uint8 input `tensor` move it as int32. Returns whether there was any."""
    readers = [n for n in graph.node if tensor.name in n.input]
    if all(_operator(n) == "Cast" for n in readers):
        return False
    wide = _free(graph, f"{tensor.name}_int32")
    cast = onnx.helper.make_node(
        "Cast", [tensor.name], [wide], name=wide, to=onnx.TensorProto.INT32
    )
    _replace(graph, tensor.name, wide)
    graph.node.insert(0, cast)
    _check_moved(graph, wide, tensor.name, path)
    return True


def _halve(onnx: Any, graph: Any, tensor: Any, path: Path) -> None:
    """Make the uint16 input `tensor` one of uint8 with a last dimension of 2."""
    helper, proto = onnx.helper, onnx.TensorProto
    name = tensor.name
    tensor.type.tensor_type.elem_type = proto.UINT8
    tensor.type.tensor_type.shape.dim.add().dim_value = 2

    def made(what: str) -> str:
        return _free(graph, f"{name}_{what}")

    wide, low, high, scaled, whole = (
        made(what) for what in ("bytes", "low", "high", "scaled", "int32")
    )
    zero, one, base = made("zero"), made("one"), made("base")
    for constant, dtype, value in (
        (zero, proto.INT64, 0), (one, proto.INT64, 1), (base, proto.INT32, 256),
    ):  # fmt: skip
        graph.initializer.append(helper.make_tensor(constant, dtype, [], [value]))
    _replace(graph, name, whole)
    nodes = [
        helper.make_node("Cast", [name], [wide], name=wide, to=proto.INT32),
        helper.make_node("Gather", [wide, zero], [low], name=low, axis=-1),
        helper.make_node("Gather", [wide, one], [high], name=high, axis=-1),
        helper.make_node("Mul", [high, base], [scaled], name=scaled),
        helper.make_node("Add", [scaled, low], [whole], name=whole),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    _check_moved(graph, whole, name, path)


def _look_up(onnx: Any, graph: Any, path: Path) -> bool:
    """Make weights of int8 and uint8 that are moved, and not dequantised, int32. Returns whether
    there were any."""
    proto, found = onnx.TensorProto, False
    for tensor in graph.initializer:
        if tensor.data_type not in (proto.INT8, proto.UINT8):
            continue
        readers = [n for n in graph.node if tensor.name in n.input]
        if not readers or not all(_operator(n) in _MOVE for n in readers):
            continue
        value = onnx.numpy_helper.to_array(tensor, str(path.parent)).astype("int32")
        tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        _check_moved(graph, tensor.name, tensor.name, path)
        found = True
    return found


def _replace(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def _check_moved(graph: Any, start: str, source: str, path: Path) -> None:
    """Raises SpecMismatch where a number of the input or weight `source`, an int32 named `start`
    now, is computed with before a Cast: it would not overflow where the model's does."""
    outputs, inside = {t.name for t in graph.output}, read_inside(graph) - {""}
    moved, open_ = {start}, [start]
    while open_:
        name = open_.pop()
        if name in inside or source in inside:
            raise SpecMismatch(
                f"{path}: a graph inside another (of an If, a Loop) reads the integers of "
                f"`{source}`, which have to be changed for TensorRT: export the model with a Cast "
                "to float32 before it"
            )
        if name in outputs:
            raise SpecMismatch(
                f"{path}: `{source}` goes to the output `{name}` as it is, which "
                "TensorRT cannot do: export the model with a Cast to float32 between them"
            )
        for node in graph.node:
            if name not in node.input or _operator(node) in ("Cast", "Shape"):
                continue
            at = _MOVE.get(_operator(node), ())
            used = [i for i, n in enumerate(node.input) if n == name]
            if at is not None and not all(i in at for i in used):
                raise SpecMismatch(
                    f"{path}: the node `{node.name or node.output[0]}` ({node.op_type}) computes "
                    f"with the integers of `{source}`, which TensorRT cannot: export the "
                    "model with a Cast to float32 before it"
                )
            for output in node.output:
                if output not in moved:
                    moved.add(output)
                    open_.append(output)
    for node in graph.node:
        if node.op_type == "Concat" and (some := moved & set(node.input)):
            others = [n for n in node.input if n not in moved]
            if others:
                raise SpecMismatch(
                    f"{path}: the node `{node.name or node.output[0]}` (Concat) joins "
                    f"`{source}` (by {min(some)}) with {', '.join(others)} before a Cast: export "
                    "the model with the Cast before it"
                )


def precision_of(model: Any) -> str:
    """What the numbers of the model are, see `Contents.precision`."""
    return Contents(model).precision(_onnx().TensorProto.DataType)


def check_precision(found: str, wanted: Precision, path: Path) -> None:
    """Raises SpecMismatch where the graph at `path`, whose numbers are `found`, is not of the
    precision `wanted`: TensorRT takes it from the graph, and is told nothing else."""
    same = {"graph": found, "tf32": "fp32"}.get(wanted, wanted)
    if found != same:
        do = "export it in that one"
        if wanted in ("fp16", "bf16", "int8"):
            do = f"make a bundle of that one by `headway quantize --precision {wanted}`"
        raise SpecMismatch(
            f"wanted an engine of {wanted}, found a graph of {found} at {path}: the precision is "
            f"that of the graph, so {do}, or leave --precision out"
        )
