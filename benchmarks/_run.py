"""The arguments of a `headway run` that works on this machine: the shipped configuration and
bundles as far as they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway import bundle
from headway.benchmarks._head import untrained_head
from headway.benchmarks._robot import CONFIG, POLICY_BUNDLE, PRO_BUNDLE
from headway.config import read_toml
from headway.drivers.sim import gl
from headway.errors import Missing


def run_arguments(folder: Path, *, seconds: float) -> tuple[list[str], list[str]]:
    """Arguments of one episode of at most `seconds`, with all its files in `folder`, and notes on
    what stood in for what is not here."""
    table = read_toml(CONFIG)
    notes = []
    table["task"]["limit_s"] = max(0.5, seconds)
    if gl.backend() is None:
        notes.append("no renderer: a null camera instead of the simulated one")
        for camera in table["camera"]:
            camera["kind"] = "null"
    if (POLICY_BUNDLE / bundle.MANIFEST).is_file():
        table["policy"]["bundle"] = str(POLICY_BUNDLE)
    else:
        notes.append("no policy bundle here: the run holds still")
        del table["policy"]
    pro = PRO_BUNDLE
    if not (pro / bundle.MANIFEST).is_file():
        pro = folder / "pro"
        try:
            untrained_head(pro)
            notes.append("no PRO bundle here: an untrained head of the same size")
        except Missing as e:
            notes.append(f"no PRO bundle here: {e}")
    table.pop("pro", None)
    if pro.is_dir():
        table["pro"] = {"bundle": str(pro)}
    config = folder / "run.toml"
    config.write_text(_toml(table))
    arguments = ["run", "--config", str(config), "--episodes", "1", "--overwrite"]
    return [*arguments, "--out", str(folder / "out")], notes


def _toml(table: dict[str, Any]) -> str:
    """The TOML of a run configuration: sections of plain values, and lists of such."""
    lines = [f"{k} = {_value(v)}" for k, v in table.items() if not _section(v)]
    for name, section in table.items():
        if not _section(section):
            continue
        for part in section if isinstance(section, list) else [section]:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{k} = {_value(v)}" for k, v in part.items()]
    return "\n".join(lines) + "\n"


def _section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + "}"
    return repr(value)
