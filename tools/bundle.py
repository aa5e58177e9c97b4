"""`headway bundle`: make a bundle of an ONNX model that somebody else exported, and a mapping file
that says what its inputs and outputs mean."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from headway.edge.engines.engine import open_bundle
from headway.edge.policy.kinds.bundle import BundlePolicy
from headway.errors import ConfigError
from headway.tools.policy_map import make_bundle, new_folder, read_map, to_begin_with


def bundle_command(
    model: Path,
    mapping: Path | None,
    out: Path | None,
    *,
    robot: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write the bundle of `model`, described by the file `mapping`, into the folder `out`, where
    there may be a bundle already with `overwrite`. Without a mapping, print one to begin with, as
    TOML; guesses in it use the joints of the model `robot`, where that is given. Returns the exit
    code. Raises ConfigError for a mapping that does not fit and for options of the other case,
    BundleError for a model that does not run.
    """
    if mapping is None and (out is not None or overwrite):
        option = "--overwrite" if out is None else f"--out {out}"
        raise ConfigError(
            f"{option} is for the bundle: wanted --map MAP.toml too, found none; `headway bundle "
            f"{shlex.quote(str(model))}` prints a mapping to begin with"
        )
    if mapping is not None and robot is not None:
        raise ConfigError(
            f"--robot {robot} is for a mapping to begin with: wanted no --map beside it, found "
            f"{mapping}, which names the joints: leave one of them out"
        )
    if mapping is None:
        print(to_begin_with(model, robot))
        return 0
    known = read_map(mapping)
    out = new_folder(out, overwrite)
    made = make_bundle(model, known, mapping, out)
    policy = BundlePolicy(made, open_bundle(made))
    space = policy.actions
    rows = f"{space.chunk} rows {space.dt_s:.3g} s apart" if space.chunk > 1 else "1 row"
    console = Console()
    console.print(
        escape(
            f"{out}: policy {policy.name}, {space.space} actions ({space.mode}), "
            f"{len(space.names)} columns, {rows}, asked {known.rate_hz:.3g} times a second"
        )
    )
    state = dict.fromkeys(name for part in known.state for name in part.names)
    console.print(escape(f"cameras: {', '.join(policy.cameras) or 'none'}"))
    console.print(escape(f"state: {', '.join(state) or 'none'}"))
    return 0
