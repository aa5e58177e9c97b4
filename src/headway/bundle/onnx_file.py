"""Look at an ONNX file before anything else parses it.

`check` bounds what opening it can cost, and keeps it inside its folder: sizes of tensors are held
to the bytes that are there, external data to plain files beside the model, graphs to an order in
which they can be computed. It takes no model in, and needs no package `onnx`. What a graph computes
it does not bound, beyond tensors that constants alone make huge.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from headway.bundle.folder import Bundle
from headway.bundle.onnx_graph import Functions, GraphReader
from headway.bundle.onnx_tensor import FLOAT8, External
from headway.bundle.protobuf import FormatError, Reader, bytes_of
from headway.errors import BundleError

LARGEST = (1 << 31) - 1  # bytes of a file: Protocol Buffers have no larger messages
MOST_FIELDS = 4_000_000  # of the file: some 200 000 nodes
SHARED = 8  # how often the bytes of external files may be used, by tensors that share them


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file that was checked: its `nodes`, with those of the functions that it calls, the
    `external` files with its weights, relative to its folder, and whether it has tensors of 8-bit
    floats."""

    path: Path
    nodes: int
    external: tuple[str, ...] = field(default=())
    float8: bool = False


def check(path: Path | str) -> OnnxFile:
    """Check the ONNX file at `path`. Raises BundleError, which says what is wrong with it."""
    path = Path(path)
    try:
        with open(path, "rb", opener=_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FormatError("it is no plain file")
            if found.st_size > LARGEST:
                raise FormatError(
                    f"it has {found.st_size} bytes, and {LARGEST} at most can be read: export it "
                    "with external data"
                )
            if found.st_size == 0:
                raise FormatError("it is empty")
            # It is unmapped when the last view of it is gone, those of a traceback included.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _checked(path, memoryview(data))
    except OSError as e:
        if e.errno in (errno.EMFILE, errno.ENFILE):  # nothing is wrong with the model
            raise
        raise BundleError(f"cannot read the model {path}: {e.strerror}") from None
    except FormatError as e:
        raise BundleError(
            f"{path} is no model that can be opened: {e}: export it again, and keep all its "
            "files together"
        ) from None


def _at_once(path: str, flags: int) -> int:
    """Opens a named pipe without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def check_bundle(bundle: Bundle) -> OnnxFile:
    """Check the model of `bundle`, and that the manifest names the external files of its weights:
    others have no hash. Raises BundleError."""
    found = check(bundle.onnx)
    place = PurePosixPath(bundle.manifest.onnx).parent
    for name in found.external:
        if str(place / name) not in bundle.manifest.files:
            raise BundleError(
                f"{bundle.path}: the weights of {bundle.manifest.onnx} lie in {name}, which is not "
                "among the bundle's files: make the bundle again with it"
            )
    return found


def _checked(path: Path, data: memoryview) -> OnnxFile:
    reader = Reader(MOST_FIELDS)
    external = External(path.parent)
    graph: memoryview | None = None
    functions = Functions()
    graphs = GraphReader(reader, external, functions)
    bodies = []
    for number, value in reader.fields(data):
        if number == 7:
            if graph is not None:
                raise FormatError("it has two graphs")
            graph = bytes_of(value)
        elif number == 25:
            bodies.append(bytes_of(value))
    if graph is None:
        raise FormatError("it has no graph")
    for body in bodies:
        graphs.function(body)
    nodes = functions.expanded(graphs.model(graph))
    total, there = external.used, external.there
    if total > SHARED * there:
        raise FormatError(
            f"its tensors take {total} bytes of external data, whose files have {there}: more than "
            f"{SHARED} tensors share each byte"
        )
    float8 = not FLOAT8.isdisjoint(external.kinds)
    return OnnxFile(path, nodes, tuple(sorted(external.files)), float8)
