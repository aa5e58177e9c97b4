"""The commands `headway export` and `headway quantize`: policies as bundles, in any precision."""

from __future__ import annotations

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
        count: how many samples are compared.
        bar: largest difference that is accepted, in the network's own units.
        exporter: PyTorch's exporter to ONNX [dynamo; torchscript for LeRobot's ACT].
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


EXPORT_COMMANDS = {"export": export}
