"""What can be chosen of an engine, as one typed record; each backend refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headway import config
from headway.errors import ConfigError

# What the numbers of a graph are. "graph": whatever it holds. "tf32": a graph of float32 whose
# products may use the tensor cores' shorter mantissa.
Precision = Literal["graph", "fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
# Of the folder of built engines, beside that of the model: a signed bundle takes no more files.
SUFFIX = ".engines"


class Profile(config.Struct, frozen=True):
    """The shapes of an input that an engine takes: the least, the one it is fastest at, the
    greatest."""

    least: tuple[int, ...]
    best: tuple[int, ...]
    most: tuple[int, ...]

    def __post_init__(self) -> None:
        shapes = (self.least, self.best, self.most)
        if len({len(s) for s in shapes}) != 1 or not all(
            1 <= a <= b <= c for a, b, c in zip(*shapes, strict=True)
        ):
            raise ValueError(
                "a profile wants least <= best <= most in each dimension, found "
                f"{self.least}, {self.best}, {self.most}"
            )


class EngineOptions(config.Struct, frozen=True, kw_only=True):
    """How an engine is built and run. All of it but `cache`, `cuda_graph`, `budget_mb` and
    `threads` is part of the cache key.

    `cache`: folder of built engines; "": the model's with `.engines` after its name.
    `workspace_mb`: most memory that a layer may use while it runs [MB]; None: all of the device.
    `level`: 0 builds fast, 5 searches longest; None: TensorRT's own. `profiles`: by input, for
    inputs of several shapes; the others have the one shape that the bundle states.

    `refit`: the engine takes other weights, and one of the same network is given the model's
    instead of building another. `version_compatible`: TensorRT can load the plan in later releases
    of the same major one too; `hardware`: the devices that it can load it on; `sm`: compute
    capabilities to build for, such as "89", for TensorRT-RTX alone, empty: this device's. These
    three are for other programs that are given the plan: the cache serves an engine only to the
    library and device that built it, since nothing was compared elsewhere.
    `weight_streaming`: weights may stay in host memory, of which `budget_mb` [MB] are kept on the
    device; None: TensorRT chooses. `dla`: number of the deep-learning accelerator (Jetson) that
    must run the model; `dla_fallback`: layers that it cannot run may use the GPU. `cuda_graph`:
    launch a run as one CUDA graph. `threads`: of the CPU, for a run of ONNX Runtime there.
    """

    precision: Precision = "graph"
    cache: str = ""
    workspace_mb: Annotated[int, Meta(ge=1)] | None = None
    level: Annotated[int, Meta(ge=0, le=5)] | None = None
    profiles: dict[str, Profile] = {}  # noqa: RUF012 - msgspec copies defaults
    refit: bool = False
    version_compatible: bool = False
    hardware: Literal["this", "same_capability", "ampere_or_newer"] = "this"
    weight_streaming: bool = False
    budget_mb: Annotated[int, Meta(ge=0)] | None = None
    dla: Annotated[int, Meta(ge=0)] | None = None
    dla_fallback: bool = False
    sm: tuple[str, ...] = ()
    cuda_graph: bool = True
    threads: Annotated[int, Meta(ge=1, le=256)] = 1

    def __post_init__(self) -> None:
        if self.budget_mb is not None and not self.weight_streaming:
            raise ValueError("budget_mb wants weight_streaming: set that, or leave it out")
        if self.dla_fallback and self.dla is None:
            raise ValueError("dla_fallback wants the number of a DLA core: set `dla`")


DEFAULT = EngineOptions()
# The options that an engine is run with; the others are what it is built with.
NOT_BUILT_IN = ("cache", "cuda_graph", "budget_mb", "threads")


def built_in(options: EngineOptions) -> dict[str, object]:
    """The options that make another engine, by name, as plain values."""
    whole: dict[str, object] = msgspec.to_builtins(options)
    return {k: v for k, v in sorted(whole.items()) if k not in NOT_BUILT_IN}


def refuse_others(kind: str, options: EngineOptions, takes: Collection[str] = ()) -> None:
    """Raises ConfigError for an option that the engine `kind` does not take, which has to be left
    at its default."""
    for field in msgspec.structs.fields(EngineOptions):
        found = getattr(options, field.name)
        if field.name not in takes and found != getattr(DEFAULT, field.name):
            can = f"it takes {', '.join(takes)}" if takes else "it takes no options"
            raise ConfigError(
                f"the engine `{kind}` cannot do {field.name} = {found!r}: {can}: leave that option "
                "out, or choose another engine"
            )
