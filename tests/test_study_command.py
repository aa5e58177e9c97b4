"""`headway study`: registered, run, interrupted, killed and resumed; the page and its pictures."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from study_fake import result, write_plan

from headway.errors import Busy, ConfigError, Missing, OutputError, RecordingError
from headway.learn import files
from headway.learn.study import page, plan, plots, registration, results
from headway.learn.study.command import Options, study_command
from headway.learn.study.run import State
from headway.learn.study.summary import summarise
from headway.learn.study.table import Shown, summary, view
from headway.learn.study.units import Progress

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def go(path, **options):
    """The exit code and what was printed."""
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    try:
        code = study_command(path, Options(**options), console)
    finally:
        console.file.close()
    return code, console.export_text()


def registered(folder, **more):
    path = write_plan(folder, **more)
    go(path, register=True)
    return path


def csvs(folder):
    return sorted(p.stem for p in (folder / "benchmarks/results/study").glob("*.csv"))


class TestCommand:
    def test_nothing_runs_before_the_plan_is_registered_or_after_it_has_changed(self, here):
        path = write_plan(here)
        with pytest.raises(ConfigError, match="--register"):
            go(path)
        code, said = go(path, register=True)
        assert code == 0
        assert re.search(r"plan\.registered\.json: [0-9a-f]{64}", said)
        (here / "cell.toml").write_text("difficulty = 1\n")
        with pytest.raises(ConfigError, match=r"cell\.toml has changed"):
            go(path)
        assert not (here / "runs").exists()
        with pytest.raises(ConfigError, match="take one"):
            go(path, register=True, page=True)

    def test_no_worker_at_all_is_refused(self, here):
        with pytest.raises(ConfigError, match="wanted at least one worker, found 0"):
            go(registered(here), workers=0)

    def test_a_study_runs_and_its_page_is_written(self, here):
        path = registered(here, few=True)
        code, said = go(path, workers=2)
        assert code == 0
        assert "3 of 3 units finished" in said
        assert len(csvs(here)) == 3
        sha = registration.read(path).sha256
        assert (
            f"# registration {sha}"
            in (here / "benchmarks/results/study/1.6_pick_place_1.csv").read_text()
        )
        # What it was made with may change later, or be gone, and so may the plan: its page shows
        # the results of the registration.
        (here / "cell.toml").unlink()
        path.write_text(path.read_text().replace("rounds = 2", "rounds = 3"))
        (here / "docs").mkdir()
        code, said = go(path, page=True)
        assert code == 0
        text = (here / "docs/study.md").read_text()
        assert "All 3 units are finished" in text
        assert sha in text
        assert (here / "docs/img/study-curves.png").exists()

    def test_a_worktree_of_the_registration_goes_on_where_this_checkout_was(self, here):
        """Results and unfinished units are those of the first checkout, where frozen files have
        changed; the worktree has the registered ones."""
        path = registered(here, few=True, learn='trouble = [["fail", "1.5_pick_place_1", 1]]')
        assert go(path, workers=1)[0] == 1
        tree = here / "tree"
        tree.mkdir()
        for name in ("plan.toml", "plan.registered.json", "cell.toml"):
            shutil.copy(here / name, tree / name)
        (here / "cell.toml").write_text("difficulty = 1\n")
        out, work = here / "benchmarks/results/study", here / "runs/study"
        with pytest.raises(ConfigError, match=r"cell\.toml has changed"):
            go(path)
        (work / "1.5_pick_place_1" / "round1.json").write_text("{}")  # past the trouble
        code, said = go(tree / "plan.toml", out=out, work=work, workers=1)
        assert code == 0
        assert "3 of 3 units finished" in said
        assert len(csvs(here)) == 3
        assert not (tree / "runs").exists()
        worked = (work / "1.5_pick_place_1/worked.txt").read_text().split()
        assert worked == ["0", "1", "2"]

    def test_another_machine_goes_on_from_the_committed_results_alone(self, here, monkeypatch):
        path = registered(here, few=True, learn='trouble = [["fail", "1.5_pick_place_1", 1]]')
        assert go(path, workers=1)[0] == 1
        finished = csvs(here)
        assert len(finished) == 2
        there = here / "there"
        shutil.copytree(here / "benchmarks", there / "benchmarks")
        for name in ("plan.toml", "plan.registered.json", "cell.toml"):
            shutil.copy(here / name, there / name)
        before = {p.name: p.read_bytes() for p in there.glob("benchmarks/results/study/*.csv")}
        monkeypatch.chdir(there)
        place = there / "runs/study/1.5_pick_place_1"
        place.mkdir(parents=True)
        (place / "round1.json").write_text("{}")  # past the trouble
        code, said = go(there / "plan.toml", workers=1)
        assert code == 0
        assert "3 of 3 units finished" in said
        ran = {p.name for p in (there / "runs/study").iterdir() if p.is_dir()}
        assert ran - {"shared"} == {"1.5_pick_place_1"}
        after = {p.name: p.read_bytes() for p in there.glob("benchmarks/results/study/*.csv")}
        assert before.items() < after.items()
        # Those of another registration are none of this one's.
        registration.path_of(there / "plan.toml").unlink()
        (there / "cell.toml").write_text("difficulty = 1\n")
        go(there / "plan.toml", register=True)
        with pytest.raises(RecordingError, match="results of another plan"):
            go(there / "plan.toml", workers=1)
        with pytest.raises(RecordingError, match="results of another plan"):
            go(there / "plan.toml", page=True)

    def test_a_unit_that_fails_is_said_and_the_exit_code_tells(self, here):
        path = registered(here, few=True, learn='trouble = [["fail", "1.5_pick_place_1", 0]]')
        code, said = go(path, workers=2)
        assert code == 1
        assert "1.5_pick_place_1 failed: ValueError: this unit does not work" in said
        assert len(csvs(here)) == 2

    def test_two_studies_in_one_folder_refuse_each_other(self, here):
        path = registered(here)
        for folder in ("runs/study", "benchmarks/results/study"):
            with (
                files.alone(here / folder, "it"),
                pytest.raises(Busy, match=f"process {os.getpid()}"),
            ):
                go(path)
        assert csvs(here) == []

    def test_a_runner_that_is_not_there_is_said_before_anything_runs(self, here):
        path = write_plan(here)
        path.write_text(path.read_text().replace("study_fake:fake", "study_fake:fike"))
        go(path, register=True)
        with pytest.raises(ConfigError, match="study_fake:fike"):
            go(path)

    def test_without_ray_that_is_said(self, here, monkeypatch):
        path = registered(here, few=True)
        monkeypatch.setitem(sys.modules, "ray", None)
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
        with pytest.raises(Missing, match=r"headway\[ray\]"):
            go(path, ray="local")
        assert os.environ.pop("RAY_USAGE_STATS_ENABLED") == "0"

    def test_smoke_needs_no_registration_and_says_that_it_means_nothing(self, here):
        path = write_plan(here, few=True)
        code, _ = go(path, smoke=True, workers=2)
        assert code == 0
        (folder,) = (here / "runs/study-smoke").iterdir()
        assert "these numbers mean nothing" in (folder / "study.md").read_text()
        made = plan.load(path)
        assert folder.name == registration.now(made, here).sha256[:12]
        (here / "cell.toml").write_text("other\n")  # another trial, with a folder of its own
        assert folder.name != registration.now(made, here).sha256[:12]


def start(path, folder, *more):
    """`headway study` as a process, and a function that reads its lines up to one with a text."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-m", "headway", "study", str(path), "--workers", "1", *more],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def until(text):
        for line in process.stdout:
            if text in line:
                return line
        pytest.fail(f"{text!r} was not said: {process.stderr.read()}")

    return process, until


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_study_that_is_stopped_goes_on_and_counts_nothing_twice(here, number, code):
    path = registered(here, few=True, learn='trouble = [["hang", "1.5_pick_place_1", 2]]')
    process, until = start(path, here)
    until("1.5_pick_place_1: round 2, waiting")
    process.send_signal(number)
    process.communicate()
    assert process.returncode == code
    assert csvs(here) == ["B0_pick_place_1"]
    # Its unit has ended with it: otherwise its folder would be taken.
    process, until = start(path, here)
    until("3 of 3 units finished")
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    worked = (here / "runs/study/1.5_pick_place_1/worked.txt").read_text().split()
    assert worked == ["0", "1", "2", "2"]  # the round in which it was stopped, once more
    units = plan.units(plan.load(path))
    found = results.finished(
        here / "benchmarks/results/study", registration.read(path).sha256, units
    )
    assert found.keys() == {u.key for u in units}


class TestTable:
    def state(self):
        made = State(total=9, done={1: None}, found=0, failed={"x": "y"}, seconds=3600.0)
        made.running = {"1.6_a_1": Progress(round=2, doing="test", share=0.5, robot_s=1800.0)}
        made.shares = {"1.6_a_1": 0.0}
        return made

    def test_it_says_how_far_and_how_long(self):
        # 1.5 units in an hour; 9 - 2 units are open, half of one is done.
        assert summary(self.state()) == "1 of 9 units finished, 1 failed, about 4 h 20 min to go"

    def test_without_a_terminal_a_unit_that_waits_is_said_once(self):
        console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
        shown, state = Shown(console), State(total=9, done={}, found=0)
        waits = Progress(round=0, doing="waiting for B0_a_1", share=0.0, waits=True)
        with console.file:
            for now in (Progress(round=0, doing="starting", share=0.0), waits, waits):
                state.running = {"1.6_a_1": now}
                shown.state(state)
        (line,) = console.export_text().splitlines()
        assert line.startswith("1.6_a_1: round 0, waiting for B0_a_1")

    def test_a_row_for_each_unit_that_runs(self):
        console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
        with console.file:
            console.print(view(self.state()))
        row = next(line for line in console.export_text().splitlines() if "1.6_a_1" in line)
        assert row.split() == ["1.6_a_1", "2", "test", "50%", "30", "min"]


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """The summary of a study of which two units are missing."""
    made = plan.load(write_plan(tmp_path_factory.mktemp("plan"), seeds=3))
    units = plan.units(made)
    gone = ("1.5_shoebox_3", "1.6-clock_shoebox_1")
    return summarise(made, "5ha" * 20, len(units), {
        u.key: result(u) for u in units if u.name not in gone
    })  # fmt: skip


class TestPage:
    def test_what_is_missing_is_said_and_numbers_are_those_of_the_summary(self, partial, tmp_path):
        pytest.importorskip("matplotlib", reason="wants matplotlib")
        page.write_page(partial, tmp_path / "study.md")
        text = (tmp_path / "study.md").read_text()
        assert "**Partial: 17 of 19 units are finished.**" in text
        assert "- 1.5 on shoebox: 2 of 3 seeds\n- 1.6-clock on shoebox: 0 of 1 seeds" in text
        for workflow in partial.workflows:
            for arm in workflow.arms:
                if arm.seeds:
                    e = arm.numbers["success"]
                    row = f"| {arm.name} | {len(arm.seeds)} of {arm.planned} | {e.value:.3f} ["
                    assert row in text
            for v in workflow.versus:
                value = f"{v.numbers['success'].value:+.3f} ["
                assert f"| {v.first} - {v.second} | {v.seeds} of {v.planned} | {value}" in text
        assert "- 1.6 and 1.5 are not" in text or "- 1.6 is ahead of 1.5" in text
        assert re.search(r"^- 1\.6 .* 1\.5.*: .*, 2 of 3 seeds\.$", text, re.MULTILINE)
        for name, count in (("1.5", "2 of 3"), ("1.6", "3 of 3")):  # recovery and so on
            assert len(re.findall(rf"^\| {name} \| {count} \|", text, re.MULTILINE)) >= 2
        assert ">=30" in text
        assert "may change with the others" in text
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({line.count("|") for line in table.splitlines()}) == 1

    def test_the_text_of_an_author_stays(self, partial, tmp_path):
        pytest.importorskip("matplotlib", reason="wants matplotlib")
        file = tmp_path / "study.md"
        file.write_text(f"# Mine\n\nBefore.\n\n{page.BEGIN}\nearlier\n{page.END}\n\nAfter.\n")
        page.write_page(partial, file)
        text = file.read_text()
        assert text.startswith("# Mine\n\nBefore.\n")
        assert text.endswith("\nAfter.\n")
        assert "earlier" not in text
        page.write_page(partial, file)
        assert file.read_text() == text
        file.write_text("# Mine\n")
        with pytest.raises(ConfigError, match="generated: study"):
            page.write_page(partial, file)
        assert file.read_text() == "# Mine\n"

    def test_pictures_are_drawn_the_same_every_time(self, partial, tmp_path):
        pytest.importorskip("matplotlib", reason="wants matplotlib")
        first = plots.draw(partial, tmp_path / "a", "mine")
        again = plots.draw(partial, tmp_path / "b", "mine")
        assert {n: p.name for n, p in first.items()} == {n: f"mine-{n}.png" for n in page.PICTURES}
        for a, b in zip(first.values(), again.values(), strict=True):
            assert a.with_suffix(".svg").read_bytes() == b.with_suffix(".svg").read_bytes()
            with Image.open(a) as image:
                assert len(image.convert("L").histogram()) == 256
                assert image.convert("L").getextrema() == (0, 255)
        curves = first["curves"].with_suffix(".svg").read_text()
        for words in ("1.6 (n=3)", "1.5 (n=2)", "pick_place", "robot time [min]"):
            assert words in curves
        assert "clock" not in curves  # a control
        assert "1.6 - B0" in first["differences"].with_suffix(".svg").read_text()

    def test_a_study_without_results_has_a_page_that_says_so(self, partial, tmp_path):
        pytest.importorskip("matplotlib", reason="wants matplotlib")
        nothing = summarise(partial.plan, "5ha", 19, {})
        page.write_page(nothing, tmp_path / "study.md")
        assert "Partial: 0 of 19" in (tmp_path / "study.md").read_text()

    def test_without_matplotlib_or_room_that_is_said(self, partial, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot write"):
            plots.draw(partial, tmp_path / "file" / "img", "x")
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(Missing, match=r"headway\[study\]"):
            plots.draw(partial, tmp_path / "c", "x")


class TestOurPlans:
    def test_the_study_is_what_was_promised(self):
        made = plan.load(ROOT / "configs/study/plan.toml")
        units = plan.units(made)
        main = [u for u in units if u.arm in ("B0", "1.5", "1.6")]
        assert len(main) == 3 * 3 * 8
        assert units[: len(main)] == main  # controls come after them
        for k, seed in enumerate(made.seeds.units):  # whenever it stops, it can be compared
            some = main[9 * k : 9 * (k + 1)]
            assert {(u.workflow, u.arm) for u in some} == {(u.workflow, u.arm) for u in main}
            assert {u.seed for u in some} == {seed}
        for a, b, c in zip(main, main[1:], main[2:], strict=False):
            assert len({a.workflow, b.workflow, c.workflow}) == 3
        assert made.robot_s >= 900.0
        orders = made.suites["main"].orders
        assert all(orders[r] >= 60 for r in (0, 2, 5))

    def test_the_second_run_learns_as_the_first_with_other_seeds(self):
        first, again = (plan.load(ROOT / "configs/study" / n) for n in ("plan.toml", "second.toml"))
        assert again.learn == {**first.learn, "noise": 0.0}
        for name, settings in first.workflow.items():  # orders have all of their lines
            wanted = {k: v for k, v in settings.items() if k != "workflow"}
            assert again.workflow[name] == wanted
        assert (again.rounds, again.robot_s, again.frozen) == (
            first.rounds, first.robot_s, first.frozen,
        )  # fmt: skip
        assert (again.measured.level, again.measured.primary_rounds) == (
            first.measured.level, first.measured.primary_rounds,
        )  # fmt: skip
        seen = {*first.seeds.units, *first.seeds.development}
        assert seen == {*again.seeds.development}
        assert not seen & {*again.seeds.units}
        units = plan.units(again)
        assert {u.arm for u in units[:45]} == {"B0", "1.5", "1.6"}  # controls come after them
        assert all(u.settings["oracle"] is False for u in units if u.arm == "shuffled-alone")

    def test_the_trial_is_small(self):
        made = plan.load(ROOT / "configs/study/smoke.toml")
        assert {u.arm for u in plan.units(made)} == {"B0", "1.5", "1.6"}
        orders = sum(t.orders for u in plan.units(made) for t in u.tests)
        assert orders * 30.0 + len(plan.units(made)) * made.robot_s < 1200.0
