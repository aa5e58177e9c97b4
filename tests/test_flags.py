"""`headway patch`: failures that a person flags in a recording, and who reads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_rig import Policy, Rig
from msgspec import structs
from null_robot import null_table

from headway.__main__ import main
from headway.clock import NS
from headway.edge.control.events import EventKind
from headway.errors import ConfigError, RecordingError
from headway.learn.pro import dataset
from headway.learn.pro.recordings import failures_of
from headway.mcaplog import open_recording
from headway.tools import flags
from headway.tools.flags import Flag
from headway.tools.recorded import events_of
from headway.tools.report import write_report
from headway.tools.score.mapping import load_mapping

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "score" / "headway.toml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flags") / "episode_3.mcap"
    Rig(null_table(task={"kind": "open_ended", "limit_s": 0.6}), Policy()).run(path)
    return path


@pytest.fixture
def recording(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path))


def patch(recording: Path, *args: Any) -> int:
    return main(["patch", str(recording), *map(str, args)])


def test_what_is_flagged_is_kept_beside_the_recording(recording: Path, capsys: Any) -> None:
    before = recording.read_bytes()
    assert patch(recording) == 0
    assert "no failure is flagged" in capsys.readouterr().out
    assert patch(recording, "--at", 0.4, 0.25, "--text", "the item slipped") == 0
    assert patch(recording, "--at", 0.1) == 0
    assert patch(recording, "--at", 0.4, "--text", "the item fell") == 0
    assert patch(recording) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == [
        "    0.10 s  a failure", "    0.25 s  the item slipped", "    0.40 s  the item fell"
    ]  # fmt: skip
    assert recording.read_bytes() == before
    assert sorted(p.name for p in recording.parent.glob("*.mcap*")) == [
        "episode_3.mcap", "episode_3.mcap.flags.json"
    ]  # fmt: skip
    assert patch(recording, "--clear") == 0
    assert flags.flags_of(recording) == ()
    assert not flags.beside(recording).exists()


def test_whoever_reads_events_reads_flags(recording: Path) -> None:
    plain = events_of(open_recording(recording))
    flags.add(recording, (Flag(0.4, "the item slipped"),))
    opened = open_recording(recording)
    found = events_of(opened)
    flagged = [e for e in found if e.kind is EventKind.FLAGGED]
    assert [e for e in found if e.kind is not EventKind.FLAGGED] == plain
    t0_ns = int(opened.rows("/telemetry")["t_ns"][0])
    assert [(e.t_ns, e.text) for e in flagged] == [(t0_ns + 4 * NS // 10, "the item slipped")]
    assert [e.t_ns for e in found] == sorted(e.t_ns for e in found)
    assert failures_of(found) == ([flagged[0].t_ns / NS], [])
    assert "the item slipped" in write_report(recording).read_text()


def test_training_on_logs_reads_flags(recording: Path) -> None:
    shipped = load_mapping(EXAMPLE)
    channels = {k: c for k, c in shipped.channels.items() if k != "task"}  # the rig's has no index
    mapping = structs.replace(shipped, channels=channels)
    (plain,) = dataset.logs([recording], mapping).logs
    assert plain.telemetry.failures == ()
    flags.add(recording, (Flag(0.4, "slipped"), Flag(0.2)))
    (log,) = dataset.logs([recording], mapping).logs
    assert log.telemetry.failures == ((0.2, "a failure"), (0.4, "slipped"))
    example = log.example()
    assert [m.t for m in example.failures] == [0.2, 0.4]
    near = (example.t >= 0.0) & (example.t <= 0.4)
    np.testing.assert_array_equal(example.risk[near], 1.0)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--at", 0.9), "wanted --at between 0 and 0.60 s"),
        (("--at", -0.1), "wanted --at between 0 and 0.60 s"),
        (("--at", "nan"), "wanted --at between 0 and 0.60 s"),
        (("--text", "slipped"), "wanted the moment that 'slipped' is about"),
    ],
)
def test_a_moment_that_is_none_is_refused(
    recording: Path, args: Any, said: str, capsys: Any
) -> None:
    assert patch(recording, *args) == ConfigError.exit_code
    assert said in " ".join(capsys.readouterr().err.split())
    assert not flags.beside(recording).exists()


def test_flags_of_another_recording_are_refused(recording: Path, capsys: Any) -> None:
    flags.add(recording, (Flag(0.4),))
    recording.write_bytes(recording.read_bytes() + b" ")
    with pytest.raises(RecordingError, match="flags another recording than the one that is at"):
        flags.flags_of(recording)
    assert patch(recording, "--clear") == 0
    assert "no failure is flagged" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"flags": []}', '{"sha256": 3, "flags": []}'])
def test_a_damaged_file_of_flags_is_refused(recording: Path, text: str) -> None:
    flags.beside(recording).write_text(text)
    with pytest.raises(RecordingError, match="wanted flags as `headway patch` writes them"):
        events_of(open_recording(recording))


def test_what_is_no_recording_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert patch(tmp_path / "none.mcap", "--at", 0.1) == RecordingError.exit_code
    assert "none.mcap" in capsys.readouterr().err
