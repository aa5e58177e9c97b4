"""`headway dataset export`: what is refused, and what is left at --out whatever ends an export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dataset_rig import EVEN, HZ, image, record, rows_of, table

from headway.__main__ import main
from headway.clock import NS
from headway.errors import Missing
from headway.tools.dataset.export import export_command

pytest.importorskip("pyarrow", reason="wants the extra lerobot")
pytest.importorskip("av", reason="wants the extra lerobot")


def export(out, *paths, **options):
    return export_command(paths, out, **options)


@pytest.fixture
def one(tmp_path):
    """A data set of one recording with its defaults."""
    record(tmp_path / "in" / "a.mcap")
    assert export(tmp_path / "out", tmp_path / "in") == 0
    return tmp_path / "out"


def test_a_data_set_that_cannot_be_replaced_stays(one, tmp_path, monkeypatch):
    rename = Path.rename

    def failing(self, target):
        if self.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    before = (one / "meta/info.json").read_bytes()
    with pytest.raises(OSError, match="Input/output"):
        export(one, tmp_path / "in", overwrite=True)
    assert (one / "meta/info.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


class TestRefusals:
    def test_a_rate_that_the_loop_did_not_have(self, tmp_path, capsys):
        path = str(record(tmp_path / "a.mcap"))
        args = ["dataset", "export", path, "--out", str(tmp_path / "out"), "--fps"]
        assert main([*args, "101"]) == 4
        assert f"wanted at least 101 ticks a second, found {HZ}" in capsys.readouterr().err
        assert main([*args, "0"]) == 2
        assert "wanted --fps of at least 1, found 0" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_one_bad_recording_does_not_cost_the_others(self, tmp_path, capsys):
        """Each for a reason of its own, and the good one is exported."""
        record(tmp_path / "a.mcap")
        ticks = np.delete(EVEN, range(40, 70))
        record(tmp_path / "hole.mcap", ticks=ticks)
        record(tmp_path / "joints.mcap", joints=("x", "y", "z"))
        record(tmp_path / "size.mcap", shown={"front": [(0, image(0, 26, 34))]})
        record(tmp_path / "odd.mcap", shown={"front": [(0, image(0, 25, 32))]})
        varied = [(0, image(0)), (300_000_000, image(0, 26, 34)), (NS // 2, image(2))]
        record(tmp_path / "varied.mcap", shown={"front": varied})
        record(tmp_path / "short.mcap", ticks=EVEN[:5], shown={})
        q = rows_of(EVEN)["q"]
        q[50:] = np.nan
        record(tmp_path / "blind.mcap", fields={"q": q})
        (tmp_path / "text.mcap").write_text("no recording")
        assert export(tmp_path / "out", tmp_path) == 1
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("not exported") == 8
        for text in (
            "hole.mcap: wanted telemetry without holes of more than 0.15 s, found one of 0.310 s",
            "joints.mcap: wanted the same joints as in a.mcap (shoulder, elbow, wrist), found x, y",
            "size.mcap: wanted the same cameras as in a.mcap (front 24 x 32), found front 26 x 34",
            "odd.mcap: /camera/front/rgb: wanted images of an even height and width for video",
            "varied.mcap: wanted images of (24, 32) pixels from the camera front, found (26, 34",
            "short.mcap: wanted at least two frames of 10 Hz",
            "blind.mcap: wanted joint positions in every frame, found none at 0.500 s",
            "1 episodes, 11 frames",
        ):
            assert text in said, text
        assert table(tmp_path / "out")["frame_index"] == list(range(11))

    def test_a_recording_that_ends_early_is_exported_as_far_as_it_goes(self, tmp_path, capsys):
        whole = record(tmp_path / "whole.mcap")
        cut = tmp_path / "a.mcap"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        assert export(tmp_path / "out", cut) == 0
        assert "a.mcap ends in the middle" in " ".join(capsys.readouterr().out.split())
        assert 2 <= len(table(tmp_path / "out")["index"]) < 11
        assert "next.success" not in table(tmp_path / "out")

    def test_a_folder_without_recordings(self, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        assert main(["dataset", "export", str(tmp_path / "in"), "--out", str(tmp_path / "o")]) == 4
        assert "wanted recordings (.mcap) in the folder, found none" in capsys.readouterr().err

    @pytest.mark.parametrize("module", ["pyarrow", "av"])
    def test_without_the_packages_it_says_what_to_install(self, module, tmp_path, monkeypatch):
        path = record(tmp_path / "a.mcap")
        for name in (module, f"{module}.parquet"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(Missing, match=r"pip install 'headway\[lerobot\]'"):
            export(tmp_path / "out", path)
        assert not (tmp_path / "out").exists()


class TestOut:
    def test_a_data_set_is_replaced_only_when_that_is_said(self, one, tmp_path, capsys):
        other = str(record(tmp_path / "other.mcap", metadata={"instruction": "another"}))
        args = ["dataset", "export", other, "--out", str(one)]
        assert main(args) == 2
        assert "found a data set at" in capsys.readouterr().err
        assert main([*args, "--overwrite"]) == 0
        assert table(one, "meta/episodes")["tasks"] == [["another"]]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "other.mcap", "out"]

    def test_somebody_elses_files_are_never_replaced(self, tmp_path, capsys):
        path = str(record(tmp_path / "a.mcap"))
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "thesis.tex").write_text("x")
        assert main(["dataset", "export", path, "--out", str(mine), "--overwrite"]) == 2
        assert "found" in capsys.readouterr().err
        assert [p.name for p in mine.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_what_ends_an_export_leaves_nothing_behind(self, error, one, tmp_path, monkeypatch):
        before = (one / "meta/info.json").read_bytes()

        def broken(self):
            raise error

        monkeypatch.setattr("headway.tools.dataset.writer.DatasetWriter.finish", broken)
        for out in (one, tmp_path / "new"):
            with pytest.raises(error):
                export(out, tmp_path / "in", overwrite=True)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]
        assert (one / "meta/info.json").read_bytes() == before

    @pytest.mark.parametrize("most", [2_000, 9_000])
    def test_a_full_disk_is_said_and_leaves_nothing_behind(self, most, tmp_path):
        """Files may not become larger than `most` bytes, in a process of its own."""
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 255, (11, 64, 64, 3), dtype=np.uint8)
        shown = {"front": [(k * NS // 10, x) for k, x in enumerate(noise)]}
        path = record(tmp_path / "in" / "a.mcap", shown=shown)
        code = (
            "import resource, sys; from headway.__main__ import main; "
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); "
            "sys.exit(main(sys.argv[1:]))"
        )
        args = ["dataset", "export", str(path), "--out", str(tmp_path / "out")]
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 4, done.stderr
        assert "cannot write the data set" in done.stderr
        assert "free space or choose another place" in done.stderr
        assert [p.name for p in tmp_path.iterdir()] == ["in"]
