"""Exports a checkpoint of LeRobot; runs in LeRobot's environment.

    python -m headway.export.lerobot.inside CHECKPOINT OUT [COUNT]

OUT then has `first.onnx`, for a policy that works in steps also `step.onnx` and `last.onnx`;
`samples.npz` with COUNT made-up inputs by name, (COUNT, ...), and `actions`, what LeRobot's own
pre- and postprocessors and `select_action` make of them; `about.json`, which says what
`importer.About` does; and further files of the bundle, such as a tokenizer's. What cannot be
exported is said on the standard error, with exit code 2.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headway.export.lerobot import torchvision_operators  # noqa: F401 - before LeRobot
from headway.export.lerobot.checkpoint import STATE, Checkpoint, ExportError
from headway.export.lerobot.stages import Stage, Stages

OPSET = 17
KINDS = "headway.export.lerobot.kinds"


def main(path: Path, out: Path, count: int) -> None:
    """Write what the module's docstring names. Raises ExportError."""
    kind = json.loads((path / "config.json").read_text()).get("type")
    known = sorted(
        p.stem for p in (Path(__file__).parent / "kinds").glob("*.py") if p.stem != "__init__"
    )
    if kind not in known:
        raise ExportError(
            f"wanted a policy of the type {' or '.join(known)} in {path / 'config.json'}, found "
            f'{kind}: run it by [policy] kind = "python", or export its module with `headway '
            "export package.module:function`"
        )
    checkpoint = Checkpoint(path)
    made: Stages = importlib.import_module(f"{KINDS}.{kind}").stages(checkpoint)
    write(made.first, out / "first.onnx")
    loop = made.loop
    about: dict[str, Any] = {
        "kind": kind,
        "columns": checkpoint.config.action_feature.shape[0],
        "state": checkpoint.config.robot_state_feature.shape[0],
        "state_input": STATE,
        "images": [
            {"input": n, "camera": checkpoint.camera(n), "height": h, "width": w}
            for n, (h, w) in checkpoint.images.items()
        ],
        "played": made.played,
        "scale": made.scale.tolist(),
        **made.about,
    }
    if loop is not None:
        write(loop.step, out / "step.onnx")
        write(loop.last, out / "last.onnx")
        constants: dict[str, Any] = dict(loop.constants)
        np.savez(out / "constants.npz", **constants)
        about["carried"] = loop.carried
    samples = [made.draw(np.random.default_rng(k)) for k in range(count)]
    answers = [made.truth(s) for s in samples]
    names = list(made.first.inputs)
    arrays: dict[str, Any] = {n: np.concatenate([s[n] for s in samples]) for n in names}
    np.savez(out / "samples.npz", **arrays, actions=np.concatenate(answers))
    for name, content in made.files.items():
        (out / name).write_text(content)
    (out / "about.json").write_text(json.dumps(about))


def write(stage: Stage, file: Path) -> None:
    """Write `stage` as an ONNX model to `file`, by the tracer of TorchScript: torch.export takes
    minutes to unroll the loops of these policies over the places of a feature map."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            stage.module, tuple(stage.inputs.values()), str(file), dynamo=False,
            input_names=list(stage.inputs), output_names=list(stage.outputs), opset_version=OPSET,
        )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 4)
    except ExportError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None
