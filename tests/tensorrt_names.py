"""Prints, as JSON, which names the real Python bindings of a release have.

`python tensorrt_names.py module FOLDER NAME` imports NAME with FOLDER first on the path.
`python tensorrt_names.py tensorrt FOLDER MAJOR`: FOLDER is where the wheel `tensorrt-cuNN-bindings`
was installed to. Those are compiled against TensorRT's libraries, which no registry has. They call
nine functions of them by name, all when objects are made: with libraries that hold nothing but
these nine, the bindings load and all their classes can be looked at.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

NINE = (
    "createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL", "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion",
    "getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip
LIBRARIES = ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin")


def load(folder: Path, major: str, work: Path) -> object:
    source = work / "nine.c"
    source.write_text("".join(f"void* {name}() {{ return 0; }}\n" for name in NINE))
    for library in LIBRARIES:
        made = work / f"{library}.so.{major}"
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-Wl,-soname,{made.name}", "-o", str(made), str(source)],
            check=True,
        )
        ctypes.CDLL(str(made), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder))
    import tensorrt_bindings

    return tensorrt_bindings


def names(module: object) -> dict[str, list[str]]:
    """Class, or "" for the module itself -> public names."""
    found = {"": [n for n in dir(module) if not n.startswith("_")]}
    for name in found[""]:
        if isinstance(value := getattr(module, name), type):
            found[name] = [n for n in dir(value) if not n.startswith("_")]
    return found


def main(what: str, folder: str, which: str) -> None:
    if what == "module":
        sys.path.insert(0, folder)
        print(json.dumps({"names": {"": dir(import_module(which))}}))
        return
    with tempfile.TemporaryDirectory() as made:
        module: Any = load(Path(folder), which, Path(made))
        print(json.dumps({"version": module.__version__, "names": names(module)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
