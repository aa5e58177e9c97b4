"""The commands `headway export` and `headway quantize`: policies as bundles, in any precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro


def export(
    source: tyro.conf.Positional[str],
    out: Path | None = None,
    map: Path | None = None,
    robot: str | None = None,
    observed: tuple[Path, ...] = (),
    samples: Path | None = None,
    count: int = 50,
    bar: float = 1e-5,
    exporter: Literal["auto", "dynamo", "torchscript"] = "auto",
    folder: Path | None = None,
    python: Path | None = None,
    fps: float = 30.0,
    slim: bool = True,
    tensorrt: bool = True,
    overwrite: bool = False,
) -> int:
    """Make a bundle of a policy: a PyTorch module, a LeRobot checkpoint, an ONNX file, a bundle.

    The model becomes ONNX, is simplified, gets inputs that TensorRT takes, and is compared with the
    original; where they differ, nothing is written (docs/export.md).

    Args:
        source: package.module:function that returns a module and example inputs; the folder of a
            LeRobot checkpoint; an .onnx file; or the folder of a bundle.
        out: folder for the bundle.
        map: TOML file that says what inputs and outputs mean; without one, print one to edit.
        robot: a robot model as for `headway robot`, whose joints the mapping is to use.
        observed: recordings, or folders of them, whose observations the models are compared on.
        samples: .npz file with an array of inputs to compare them on, for each input by name.
        count: how many samples are compared at most; of a LeRobot checkpoint at most 4.
        bar: largest difference that is accepted, in the network's own units.
        exporter: PyTorch's exporter to ONNX [dynamo for a module, torchscript for a LeRobot
            checkpoint, which takes no other].
        folder: where Python looks for the source's module first.
        python: Python of the environment that LeRobot is installed in [this one].
        fps: frames a second of the data that a LeRobot policy was trained on.
        slim: whether the model is simplified by onnxslim.
        tensorrt: whether inputs that TensorRT does not take are changed.
        overwrite: replace a bundle at --out.
    """
    from headway.errors import Missing

    try:
        from headway.export.command import Options, export_command
    except ImportError as e:
        raise Missing(f"exporting wants onnx: pip install 'headway[export]' ({e})") from None

    return export_command(
        source,
        Options(
            out, map, robot, folder, python, fps, exporter, observed, samples, count, bar, slim,
            tensorrt, overwrite,
        ),
    )  # fmt: skip


def quantize(
    bundle: tyro.conf.Positional[Path],
    out: Path,
    precision: tuple[Literal["fp16", "bf16", "int8", "fp8"], ...] = ("fp16", "bf16", "int8", "fp8"),
    observed: tuple[Path, ...] = (),
    samples: Path | None = None,
    count: int = 100,
    bar: float = 0.999,
    choose_bar: float | None = None,
    overwrite: bool = False,
) -> int:
    """Make bundles of lower precision of a policy, and print what each costs.

    A precision is written only where its answers keep the bar on observations that it was neither
    calibrated nor chosen with; int8 and fp8 go into the layers that bear them (docs/export.md).

    Args:
        bundle: folder of the policy's bundle.
        out: folder for the bundles, one per precision, and precision.json.
        precision: fp16 and bf16 by modelopt; int8 and fp8 (8-bit floats, E4M3) in as many layers as
            keep the bar.
        observed: recordings, or folders of them, whose observations calibrate, choose and judge.
        samples: instead, .npz file with an array of inputs for each input by name.
        count: how many observations; a third each calibrates, chooses what gets the precision, and
            judges the outcome.
        bar: least worst cosine between the answers and those of the original.
        choose_bar: the same while choosing [--bar]; a higher one leaves room for observations that
            the choice did not see.
        overwrite: replace bundles in --out.
    """
    from headway.errors import Missing

    try:
        from headway.export.precision.command import Options, quantize_command
    except ImportError as e:
        raise Missing(f"quantizing wants onnx: pip install 'headway[precision]' ({e})") from None

    return quantize_command(
        bundle, Options(out, precision, observed, samples, count, bar, choose_bar, overwrite)
    )


EXPORT_COMMANDS: dict[str, Callable[..., int]] = {"export": export, "quantize": quantize}
