"""A file of telemetry, opened by its kind, with what maps it; folders as the files in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headway.errors import ConfigError, RecordingError
from headway.tools.score.bag import Bag
from headway.tools.score.mapping import Mapping, Time, plain_mapping
from headway.tools.score.source import Source
from headway.tools.score.table import ArrayTable, Npz, Table
from headway.tools.score.text import TextColumns

SUFFIXES = (".npz", ".csv", ".tsv", ".txt", ".mcap")
WALKED = (".npz", ".csv", ".tsv", ".mcap")  # in folders: a .txt there is usually a note

RESULTS = (".features.npz", ".signals.csv")  # of `headway score` itself


def open_source(path: Path, mapping: Mapping | None) -> tuple[Source, Mapping]:
    """The file, and what maps it: without a mapping, channels that bear the names of telemetry
    fields in SI units. Raises RecordingError, ConfigError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"{path}: wanted telemetry as .npz, .csv, .mcap, found {suffix or 'no suffix'}: "
            "convert it to one of them"
        )
    time = mapping.time if mapping is not None else Time()
    source: Source
    if suffix == ".mcap":
        source = Bag(path, time, mapping.topic if mapping is not None else "/telemetry")
    elif suffix == ".npz":
        source = ArrayTable(path, Npz(path), time)
    else:
        source = Table(TextColumns(path), time)
    return source, mapping or plain_mapping(path, source.keys())


def walk(files: Sequence[Path]) -> list[Path]:
    """The files, folders replaced by the telemetry in them. Raises RecordingError for a folder
    without any."""
    out: list[Path] = []
    for path in files:
        if not path.is_dir():
            out.append(path)
            continue
        found = sorted(
            p
            for p in path.rglob("*")
            if p.suffix.lower() in WALKED and p.is_file() and not p.name.endswith(RESULTS)
        )
        if not found:
            raise RecordingError(
                f"{path}: wanted telemetry ({', '.join(WALKED)}) in the folder, found none: name "
                "a folder that holds some"
            )
        out += found
    return list(dict.fromkeys(out))
