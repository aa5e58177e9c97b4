"""The command `headway build`: engines of a bundle, on the computer that will run them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro


def build(
    bundle: tyro.conf.Positional[Path],
    engine: str | None = None,
    precision: Literal["graph", "fp32", "tf32", "fp16", "bf16", "int8", "fp8"] = "graph",
    cache: Path | None = None,
    candidates: int = 1,
    workspace_mb: int | None = None,
    level: int | None = None,
    dla: int | None = None,
    dla_fallback: bool = False,
    refit: bool = False,
    version_compatible: bool = False,
    weight_streaming: bool = False,
    hardware: Literal["this", "same_capability", "ampere_or_newer"] = "this",
    sm: tuple[str, ...] = (),
    again: bool = False,
) -> int:
    """Build the engines of a bundle on this computer, check them, and measure which is fastest.

    Args:
        bundle: bundle folder.
        engine: tensorrt or tensorrt_rtx [the first that can run here].
        precision: what the numbers of the model's graph have to be; tf32 lets float32 be rounded.
        cache: folder for the engines [BUNDLE.engines, beside it].
        candidates: chunks that a policy with noise makes at a time.
        workspace_mb: most memory that a layer may use while it runs [MB].
        level: 0 builds fast, 5 searches longest.
        dla: number of the deep-learning accelerator (Jetson) that has to run the model.
        dla_fallback: what the accelerator cannot do may run on the GPU.
        refit: make engines that take other weights, and use one that is there of the same network,
            trained otherwise, instead of building.
        version_compatible: make plans that later releases of the same TensorRT load too, in other
            programs: Headway opens an engine only with the release that built it.
        weight_streaming: keep weights in host memory, for models larger than the device's.
        hardware: devices that the plans run on, in other programs: Headway opens an engine only on
            a device like the one that built it.
        sm: compute capabilities to build for, such as 89 120, likewise; only tensorrt_rtx.
        again: build also what is built already.
    """
    from headway.edge.engines.options import EngineOptions
    from headway.tools.build import build_command

    options = EngineOptions(
        precision=precision,
        cache="" if cache is None else str(cache),
        workspace_mb=workspace_mb,
        level=level,
        refit=refit,
        version_compatible=version_compatible,
        hardware=hardware,
        weight_streaming=weight_streaming,
        dla=dla,
        dla_fallback=dla_fallback,
        sm=sm,
    )
    return build_command(bundle, engine, options, candidates, again)
