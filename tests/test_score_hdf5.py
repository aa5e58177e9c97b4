"""HDF5 files: one episode a file as ALOHA writes them, several as robomimic does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from score_files import mapping, rows_of
from score_logs import aloha, robomimic

from headway.errors import ConfigError, Missing, RecordingError
from headway.tools.score import hdf5, samples
from headway.tools.score.command import score_command
from headway.tools.score.files import episodes_of, open_source
from headway.tools.score.mapping import Channel, Outcome, Session, Time
from headway.tools.score.telemetry import telemetry_of

h5py = pytest.importorskip("h5py")

AT_50 = Time(rate_hz=50.0)
QPOS = {"q": Channel(key="/observations/qpos", columns=list(range(6)))}
EEF = {"force_norm": Channel(key="obs/force")}


def test_one_episode_a_file_without_stamps(tmp_path: Path) -> None:
    path = aloha(tmp_path / "a.hdf5")
    assert episodes_of(path) == [""]
    got = rows_of(path, mapping(QPOS, time=AT_50))
    assert got.episode == ""
    np.testing.assert_allclose(got.rows["q"][:, 3], np.linspace(0, 1, 200), atol=1e-6)
    with pytest.raises(RecordingError, match=r"give `time.key`, or `time.rate_hz`"):
        rows_of(path, mapping(QPOS, time=Time()))
    relative = {"q": Channel(key="observations/qpos", columns=list(range(6)))}
    assert rows_of(path, mapping(relative, time=AT_50)).n == 200


def test_each_group_of_a_file_is_an_episode(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.h5", (150, 100, 80))
    assert episodes_of(path) == ["demo_0", "demo_5", "demo_10"]
    m = mapping(
        EEF,
        time=Time(key="obs/t"),
        outcome=Outcome(key="@success", success=[True]),
        session=Session(key="@env"),
    )
    for k, name in enumerate(episodes_of(path)):
        got = telemetry_of(*open_source(path, m, name))
        assert (got.episode, got.success, got.session) == (name, k == 0, "lab")
        assert np.nanmax(got.rows["force_norm"]) == k + 1
    with pytest.raises(ConfigError, match=r"wanted one episode, found 3 \(demo_0, demo_5"):
        open_source(path, m)
    with pytest.raises(RecordingError, match="wanted the episode `demo_1`, found demo_0"):
        open_source(path, m, "demo_1")


def test_a_group_alone_keeps_its_name(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.h5", (150,))
    assert episodes_of(path) == ["demo_0"]
    assert rows_of(path, mapping(EEF, time=Time())).episode == "demo_0"  # stamps: by their name


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = aloha(tmp_path / "a.hdf5", note=np.array([b"x"] * 200), other=np.zeros(7))
    for key, says in (
        ("observations/qpo", "did you mean `observations/qpos`"),
        ("observations/images/top", r"wanted `observations/images/top` of shape \(n,\) or"),
        ("note", "wanted numbers in `note`"),
        ("observations", "wanted the key `observations`"),
        ("@simm", "did you mean `@sim`"),
    ):
        with pytest.raises(RecordingError, match=says):
            rows_of(path, mapping({"force_norm": Channel(key=key)}, time=AT_50))
    both = {**QPOS, "force_norm": Channel(key="other")}
    with pytest.raises(RecordingError, match="wanted 200 samples of `other`"):
        rows_of(path, mapping(both, time=AT_50))
    optional = {**QPOS, "width": Channel(key="gripper", optional=True)}
    assert any(
        "width: no key `gripper`" in n for n in rows_of(path, mapping(optional, time=AT_50)).notes
    )


def test_numbers_that_are_none_and_empty_episodes(tmp_path: Path) -> None:
    nan = np.full((200, 14), np.nan)
    with pytest.raises(RecordingError, match="wanted finite values, found none"):
        rows_of(aloha(tmp_path / "a.hdf5", qpos=nan), mapping(QPOS, time=AT_50))
    empty = aloha(tmp_path / "b.hdf5", 0, qpos=np.zeros((0, 14)))
    with pytest.raises(RecordingError, match="wanted samples, found an empty file"):
        rows_of(empty, mapping(QPOS, time=AT_50))
    with h5py.File(tmp_path / "c.h5", "w") as f:
        f.create_group("data/demo_0")
    with pytest.raises(RecordingError, match=r"wanted datasets in .data/demo_0, found none"):
        rows_of(tmp_path / "c.h5", mapping(QPOS, time=AT_50))
    with h5py.File(tmp_path / "d.h5", "w") as f:
        f["gone"] = h5py.ExternalLink("nowhere.h5", "/x")
        f["a/round"] = h5py.SoftLink("/")
        f["t"] = np.arange(100) / 50
        f["f"] = np.ones(100, ">i2")
    got = rows_of(tmp_path / "d.h5", mapping({"force_norm": Channel(key="f")}, time=Time()))
    assert got.rows["force_norm"].max() == 1.0


def rates(path: Path) -> Path:
    """A file with an array of stamps for each of two rates."""
    with h5py.File(path, "w") as f:
        f["joints/timestamp"] = np.arange(400) / 100
        f["joints/qpos"] = np.linspace(np.zeros(6), np.ones(6), 400)
        f["ft/timestamp"] = 0.5 + np.arange(800) / 400
        f["ft/wrench"] = np.linspace(np.zeros(6), np.ones(6), 800)
    return path


def test_arrays_of_several_rates_have_their_own_stamps(tmp_path: Path) -> None:
    path = rates(tmp_path / "a.h5")
    wrench = Channel(key="ft/wrench", time="ft/timestamp", frame="tcp", force="on tool")
    channels = {"q": Channel(key="joints/qpos"), "wrench": wrench}
    got = rows_of(path, mapping(channels, time=Time(key="joints/timestamp", rate_hz=100.0)))
    assert got.rates == {"q": 100.0, "wrench": 400.0}
    forces = got.rows["wrench"][:, 2]
    assert np.isnan(forces[:50]).all()
    np.testing.assert_allclose(forces[60:240], np.arange(10, 190) * 4 / 799, atol=1e-9)
    at = Time(key="joints/timestamp")
    both = {**channels, "wrench": Channel(key="ft/wrench", frame="tcp", force="on tool")}
    with pytest.raises(RecordingError, match="or name its own stamps by `time`"):
        rows_of(path, mapping(both, time=at))
    lost = {"force_norm": Channel(key="ft/wrench", time="ft/stamp", combine="norm")}
    with pytest.raises(RecordingError, match="wanted the key `ft/stamp`"):
        rows_of(path, mapping(lost, time=at))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = aloha(tmp_path / "a.hdf5")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match="wanted an HDF5 file, found one that HDF5 cannot"):
        rows_of(path, mapping(QPOS, time=AT_50))
    (tmp_path / "b.h5").write_bytes(b"not this")
    with pytest.raises(RecordingError, match="wanted an HDF5 file"):
        episodes_of(tmp_path / "b.h5")
    with pytest.raises(RecordingError, match="found none: check the path"):
        episodes_of(tmp_path / "c.h5")


def test_long_datasets_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    part = hdf5.Hdf5Table._part

    def seen(self: Any, array: Any, key: str, at: Any) -> Any:
        x = part(self, array, key, at)
        sizes.append(len(x))
        return x

    monkeypatch.setattr(hdf5.Hdf5Table, "_part", seen)
    path = aloha(tmp_path / "a.hdf5", 20_000)
    got = rows_of(path, mapping(QPOS, time=AT_50))
    assert got.n == 20_000
    assert sum(sizes) == 20_000
    assert max(sizes) == samples.BLOCK


def test_without_its_package_the_way_to_get_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aloha(tmp_path / "a.hdf5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(Missing, match=r"h5py, found none: pip install 'headway\[logs\]'"):
        hdf5.episodes(path)


def test_all_episodes_of_a_file_are_scored(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.h5")
    with h5py.File(path, "a") as f:
        del f["data/demo_5/obs/force"]
    (tmp_path / "map.toml").write_text('[channels.force_norm]\nkey = "obs/force"\n')
    (tmp_path / "b.hdf5").write_bytes(b"no")
    console = Console(record=True, width=160)
    out = tmp_path / "out"
    code = score_command([tmp_path], tmp_path / "map.toml", None, out, console=console)
    said = console.export_text()
    assert code == 1
    assert [p.name for p in out.glob("*.npz")] == ["a-demo_0.features.npz"]
    assert "wanted the key `obs/force`" in said
    assert "(in demo_5)" in said
    assert "b.hdf5: wanted an HDF5 file" in said
    assert "1 of 3 episodes scored" in said
    with np.load(out / "a-demo_0.features.npz") as file:
        assert str(file["source"]) == f"{path}:demo_0"
