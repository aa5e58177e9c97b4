"""What a table of labels and the names of folders say about episodes whose files do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from headway.errors import ConfigError, RecordingError
from headway.tools.score import labelfile
from headway.tools.score.command import score_command
from headway.tools.score.files import Episode, open_source
from headway.tools.score.mapping import load_mapping
from headway.tools.score.telemetry import Telemetry, telemetry_of

MAP = '[time]\nkey = "t"\n[channels.force_norm]\nkey = "f"\n'
LABELLED = MAP + '[labels]\nfile = "labels.csv"\n'


def episode(folder: Path, name: str = "run_1", **more: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    t = np.arange(0, 10, 0.05)
    np.savez(folder / f"{name}.npz", t=t, f=np.ones(len(t)), **more)
    return folder / f"{name}.npz"


def labelled(path: Path, labels: str, toml: str = "") -> Telemetry:
    """The episode in the file `path`, with a table of labels beside it."""
    (path.parent / "labels.csv").write_text(labels)
    (path.parent / "map.toml").write_text(LABELLED + toml)
    return telemetry_of(*open_source(path, load_mapping(path.parent / "map.toml")))


def test_an_episode_has_a_row_for_each_of_its_events(tmp_path: Path) -> None:
    got = labelled(
        episode(tmp_path),
        "episode,success,session,failure_t,failure,retry_t,retry,note\n"
        "run_1,no,monday,,,,,by hand\n"
        "run_1.npz,,,6.5,slip,,,\n"
        "run_1,,,4.0,,2.5,,\n"
        "run_2,yes,tuesday,1,,,,\n",
        "[events]\nend_after_s = 0.5\n",
    )
    assert (got.success, got.session) == (False, "monday")
    assert got.failures == ((4.0, "failure"), (6.5, "slip"))
    assert got.retries == ((2.5, "retry"),)
    assert got.end_s == 4.5
    assert got.events == [(2.5, "retry"), (4.0, "failure"), (6.5, "slip")]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("run_1", True),
        ("run_1.npz", True),
        ("day/run_1", True),
        ("day/run_1.npz", True),
        ("other/run_1", False),
        ("run", False),
        ("run_1:x", False),
    ],
)
def test_episodes_are_named_by_as_much_of_their_path_as_it_takes(
    tmp_path: Path, cell: str, found: bool
) -> None:
    got = labelled(episode(tmp_path / "day"), f"episode,success\n{cell},1\n")
    assert got.success is (True if found else None)
    assert any("has no row for this episode" in n for n in got.notes) is not found


def test_words_have_the_meaning_that_the_mapping_gives(tmp_path: Path) -> None:
    path = episode(tmp_path)
    outcome = '[outcome]\nsuccess = ["placed"]\n'
    assert labelled(path, "episode,outcome\nrun_1,placed\n", outcome).success is True
    assert labelled(path, "episode,outcome\nrun_1,lost\n", outcome).success is False
    got = labelled(path, "episode,outcome\nrun_1,lost\n", outcome + 'failure = ["dropped"]\n')
    assert got.success is None
    assert any("`lost` is none of `success` and `failure`" in n for n in got.notes)
    assert labelled(path, "episode,outcome\nrun_1,Failure\n").success is False
    with pytest.raises(ConfigError, match="correct one of them"):
        labelled(path, "episode,outcome,success\nrun_1,failure,1\n")


def test_labels_count_before_the_file(tmp_path: Path) -> None:
    path = episode(tmp_path, end="good", day="monday")
    toml = '[outcome]\nkey = "end"\nsuccess = ["good"]\n[session]\nkey = "day"\n'
    got = labelled(path, "episode,success,session\nrun_1,0,tuesday\n", toml)
    assert (got.success, got.session) == (False, "tuesday")
    assert any("the labels say a failure, the file a success" in n for n in got.notes)
    got = labelled(path, "episode,success,session\nrun_1,,\n", toml)
    assert (got.success, got.session) == (True, "monday")
    missing = toml.replace('"end"', '"finish"') + '[events]\ntext = "end"\nfailures = ["bad"]\n'
    missing = missing.replace('["good"]\n', '["good"]\noptional = true\n')
    got = labelled(path, "episode,success,failure_t\nrun_1,1,3\n", missing)
    assert (got.success, got.failures) == (True, ((3.0, "failure"),))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("episode,failure_t\nrun_1,soon\n", "line 2: wanted seconds in `failure_t`, found 'soon'"),
        ("episode,failure_t\nrun_1,nan\n", "wanted seconds in `failure_t`, found 'nan'"),
        ("episode,failure_t,failure\nrun_1,,slip\n", r"wanted a time \[s\] in `failure_t`"),
        ("episode,success\nrun_1,perhaps\n", "wanted `success` as one of 1, true"),
        ("episode,success\nrun_1,1\nrun_1,0\n", "wanted one `success` for `run_1`, found True"),
        ("episode,sucess\nrun_1,1\n", "unknown column `sucess`: did you mean `success`"),
        ("file,success\nrun_1,1\n", "unknown column `file`"),
        ("episode,note\nrun_1,1\n", "wanted a column `episode` and at least one of outcome"),
        ("", "found an empty file"),
        ("episode,success\nrun_1\n", "line 2: wanted 2 cells"),
        ("episode,success\nrun_1,1,1\n", "line 2: wanted 2 cells"),
        ("episode,success\n,1\n", "wanted a name in `episode`"),
    ],
)
def test_labels_that_cannot_be_read_are_refused(tmp_path: Path, labels: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        labelled(episode(tmp_path), labels)


def test_a_table_that_is_missing_is_said(tmp_path: Path) -> None:
    path = episode(tmp_path)
    (tmp_path / "map.toml").write_text(LABELLED)
    with pytest.raises(ConfigError, match=r"wanted the labels at .*labels.csv, found none"):
        telemetry_of(*open_source(path, load_mapping(tmp_path / "map.toml")))


def test_an_event_outside_of_the_episode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"found `failure` at 60.00 s"):
        labelled(episode(tmp_path), "episode,failure_t\nrun_1,60\n")


def test_files_of_one_name_want_their_folders(tmp_path: Path) -> None:
    paths = [episode(tmp_path / day) for day in ("day1", "day2")]
    (tmp_path / "labels.csv").write_text("episode,success\nrun_1,1\nrun_7,0\n")
    table = labelfile.read(tmp_path / "labels.csv")
    with pytest.raises(ConfigError, match=r"wanted one file for `run_1`.*write the folder too"):
        table.check([Episode(p) for p in paths])
    assert table.check([Episode(paths[0])]) == [
        f"{tmp_path / 'labels.csv'}: 1 of 2 names are no episode here: `run_7`"
    ]


def test_episodes_inside_a_file_are_named_with_it(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "episode,success,failure_t\nset,1,\nset.h5:demo_2,,3\nother,,1\nset:7,0,\n"
    )
    table = labelfile.read(tmp_path / "labels.csv")
    got = table.of(Episode(tmp_path / "set.h5", "demo_2"))
    assert got == labelfile.Label(True, failures=((3.0, "failure"),))
    assert table.of(Episode(tmp_path / "set.h5", "demo_3")) == labelfile.Label(True)
    with pytest.raises(ConfigError, match=r"wanted one `success` for `set:7`"):
        table.of(Episode(tmp_path / "set.h5", "demo_7"))
    with pytest.raises(ConfigError, match=r"write `other:demo_1`"):
        table.of(Episode(tmp_path / "other.h5", "demo_1"))


def test_the_folder_says_how_the_task_ended(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        MAP + '[outcome]\nfolder = true\nsuccess = ["ok"]\nfailure = ["failed"]\n'
    )
    m = load_mapping(tmp_path / "map.toml")
    for folder, success in (("OK", True), ("failed", False), ("odd", None)):
        got = telemetry_of(*open_source(episode(tmp_path / folder), m))
        assert got.success is success
    assert any("the folder `odd` is none of" in n for n in got.notes)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[outcome]\nsuccess = ["a"]\n', r"\[outcome\] wants `key`, `folder = true`, or"),
        ('[outcome]\nsuccess = ["a"]\nkey = "x"\nfolder = true\n', "found both"),
        ('[outcome]\nsuccess = ["a"]\nfolder = true\ntopic = "/x"\n', "are about `key`"),
        ("[events]\nend_after_s = 1.0\n", "wants either `times` or `text`"),
        ('[labels]\nfile = "x"\n[events]\nfailures = ["a"]\n', "says itself what events mean"),
    ],
)
def test_words_that_come_from_nowhere_are_refused(tmp_path: Path, toml: str, says: str) -> None:
    (tmp_path / "map.toml").write_text(MAP + toml)
    with pytest.raises(ConfigError, match=says):
        load_mapping(tmp_path / "map.toml")


def test_score_says_which_rows_it_did_not_need(tmp_path: Path) -> None:
    episode(tmp_path / "logs")
    (tmp_path / "logs" / "labels.csv").write_text("episode,success\nrun_1,1\nrun_2,1\n")
    (tmp_path / "map.toml").write_text(LABELLED.replace("labels.csv", "logs/labels.csv"))
    console = Console(record=True, width=160)
    code = score_command(
        [tmp_path / "logs"], tmp_path / "map.toml", None, tmp_path / "out", console=console
    )
    said = console.export_text()
    assert code == 0, said  # the table itself is no telemetry
    assert "1 of 2 names are no episode here: `run_2`" in said
    with np.load(tmp_path / "out" / "run_1.features.npz") as file:
        assert file["success"]
