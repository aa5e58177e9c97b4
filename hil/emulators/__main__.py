"""Run one emulator as a process of its own.

    python -m headway.hil.emulators KIND [TABLE]

TABLE is a JSON object with the keys of the emulator's `Config`, and beside them `plant` (a table
with `kind`, "servo" or "shared", and its keys) and `journal` (a path). The first line of its
standard output is a JSON object: `uri` says where it can be reached. It ends on SIGTERM and on
Ctrl-C, and when its standard input ends where that is a pipe, so that it never outlives a program
that started it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from headway import config, plugins
from headway.errors import ConfigError, HeadwayError
from headway.hil.journal import Journal
from headway.hil.plant import Plant, ServoConfig, ServoPlant
from headway.hil.shared import SharedConfig, SharedPlant
from headway.hil.told_to_end import told_to_end


def open_plant(table: dict[str, Any]) -> Plant:
    """The plant that `table` describes. Raises ConfigError."""
    rest = dict(table)
    kind = rest.pop("kind", "servo")
    if kind == "servo":
        cfg: ServoConfig = config.decode(rest, ServoConfig, "plant")
        return ServoPlant(cfg)
    if kind == "shared":
        place: SharedConfig = config.decode(rest, SharedConfig, "plant")
        return SharedPlant(Path(place.path))
    raise ConfigError(f"plant wants the kind servo or shared, found {kind!r}")


def main(argv: list[str]) -> int:
    """Run the emulator that `argv` names until it is told to end. Returns the exit code."""
    kind, table = argv[0], json.loads(argv[1]) if len(argv) > 1 else {}
    journal = Journal(Path(table.pop("journal")) if "journal" in table else None)
    plant = open_plant(table.pop("plant", {}))
    module = plugins.load("hil.emulators", kind, ("Config", "serve"))
    cfg = config.decode(table, module.Config, f"emulator {kind}")
    stop = told_to_end()
    try:
        module.serve(cfg, plant, journal, _ready, stop)
    finally:
        plant.close()
        journal.close()
    return 0


def _ready(uri: str) -> None:
    print(json.dumps({"uri": uri}), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HeadwayError as e:
        print(f"headway emulator: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
