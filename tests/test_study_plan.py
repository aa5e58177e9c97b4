"""The plan of a study, its registration, and the files of its units."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec import structs
from study_fake import result, write_plan

from headway.errors import ConfigError, OutputError, RecordingError, Truncated
from headway.learn import files
from headway.learn.study import plan, registration, results, units


@pytest.fixture
def path(tmp_path):
    return write_plan(tmp_path)


def changed(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))
    return path


class TestPlan:
    def test_units_come_by_priority_seed_by_seed_with_neighbours_of_different_workflows(self, path):
        names = [u.name for u in plan.units(plan.load(path))]
        assert names[:6] == [
            "B0_pick_place_1", "B0_shoebox_1", "1.5_pick_place_1",
            "1.5_shoebox_1", "1.6_pick_place_1", "1.6_shoebox_1",
        ]  # fmt: skip
        assert names[6:12] == [n[:-1] + "2" for n in names[:6]]
        assert names[12:] == ["1.6-clock_shoebox_1"]

    def test_a_unit_has_the_arms_settings_over_those_of_all(self, path):
        made = {u.name: u.settings for u in plan.units(plan.load(path))}
        assert made["1.5_shoebox_1"] == {"steps": 1000}
        assert made["1.6_shoebox_1"] == {"steps": 500}

    def test_a_workflow_may_have_settings_of_its_own_table_by_table(self, path):
        table = "demonstrations = { orders = 20, disturb = 0.04 }"
        text = path.read_text().replace("steps = 1000", f"steps = 1000\n{table}")
        path.write_text(
            f"{text}\n[workflow.shoebox]\ndemonstrations = {{ orders = 60 }}\nsteps = 9\n"
        )
        made = {u.name: u.settings for u in plan.units(plan.load(path))}
        many = {"orders": 60, "disturb": 0.04}
        assert made["1.5_shoebox_1"] == {"steps": 9, "demonstrations": many}
        assert made["1.6_shoebox_1"] == {"steps": 500, "demonstrations": many}
        assert made["1.5_pick_place_1"]["demonstrations"]["orders"] == 20
        path.write_text(f"{text}\n[workflow.shoebos]\nsteps = 9\n")
        with pytest.raises(ConfigError, match=r"\[workflow.shoebos\].*shoebox"):
            plan.load(path)

    def test_arms_are_tested_on_the_same_orders_and_no_scene_is_used_twice(self, path):
        made = plan.units(plan.load(path))
        tests = {(u.workflow, u.seed): u.tests for u in made}
        assert all(tests[u.workflow, u.seed] == u.tests for u in made)
        assert [(t.round, t.suite, t.orders) for t in made[0].tests] == [
            (0, "main", 40), (0, "injected", 20), (1, "main", 20), (2, "main", 40),
            (2, "injected", 20),
        ]  # fmt: skip
        scenes = {}
        for u in (made[0], made[6]):
            train = range(u.train_first, u.train_first + u.train_count)
            for name, seeds in [(f"train {u.seed}", train), *((t.suite, t.seeds) for t in u.tests)]:
                for other, taken in scenes.items():
                    if other != (name, u.seed):
                        assert not set(seeds) & taken, (name, u.seed, other)
                scenes.setdefault((name, u.seed), set()).update(seeds)

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("development = [101]", "development = [101, 2]", r"found \[2\] among"),
            ("units = [1, 2, 3]", "units = [1, 1, 3]", "each once"),
            ("units = [1, 2, 3]", "units = [1]", "wants 2 seeds, found 1"),
            ("development = [101]", "development = [101]\ntest_from = 10500000", "for both"),
            ("orders = [40, 20, 40]", "orders = [40, 20]", "wants 3 numbers"),
            ("orders = [40, 20, 40]", "orders = [40, 20, 9999]", "at most 5000 orders"),
            ("orders = [40, 20, 40]", "orders = [40, 0, 40]", "after round 1, found none"),
            ("primary_rounds = [1, 2]", "primary_rounds = [3]", "after round 3, found none"),
            ('["1.6", "B0"]', '["1.6", "BO"]', "did you mean `B0`"),
            ('name = "1.5"', 'name = "1.6"', "one arm '1.6', found 2"),
            ('name = "1.5"', 'name = "1_5"', "wanted an arm's name"),
            ("shoebox = 0.5", "shoe = 0.5", "found none for 'shoebox'"),
            ("shoebox = 0.5", "shoebox = 0.5\nshoe = 0.5", "'shoe', which no arm has"),
            ("[suites.main]", "[suites.other]", r"\[suites.main\]"),
            ("robot_s = 900.0", "robot_s = -1", "number > 0"),
            ("robot_s = 900.0", "robots = 900.0", "unknown key `robots`"),
        ],
    )
    def test_what_does_not_fit_is_said(self, path, old, new, says):
        with pytest.raises(ConfigError, match=says):
            plan.load(changed(path, old, new))

    def test_arms_that_share_no_workflow_cannot_be_compared(self, path):
        both = 'workflows = ["pick_place", "shoebox"]'
        for name, one in (("1.5", "pick_place"), ("1.6", "shoebox")):
            text = f'name = "{name}"\n'
            changed(path, f"{text}{both}", f'{text}workflows = ["{one}"]')
        with pytest.raises(ConfigError, match=r"'1.6' and '1.5', which share no workflow"):
            plan.load(path)


def current(path):
    return registration.now(plan.load(path), path.parent)


def hold(path, now):
    registration.hold(path, now, path.parent / "out", path.parent / "work")


def commit(folder):
    """Commit all of `folder`; returns the commit in short."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    made = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return made.stdout.strip()


class TestRegistration:
    def test_it_is_written_once_and_holds(self, path):
        with pytest.raises(ConfigError, match="--register"):
            hold(path, current(path))
        first = registration.register(path, current(path))
        assert first == path.with_name("plan.registered.json")
        assert registration.register(path, current(path)) == first
        hold(path, current(path))
        assert json.loads(first.read_text())["plan"]["rounds"] == 2
        assert len(current(path).sha256) == 64

    def test_comments_and_layout_of_the_plan_may_change(self, path):
        before = current(path).sha256
        path.write_text("# the plan\n" + path.read_text().replace("rounds = 2", "rounds  =  2"))
        assert current(path).sha256 == before

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("robot_s = 900.0", "robot_s = 901.0", "`robot_s` was 900.0, is 901.0"),
            ("steps = 500", "steps = 501", r"`arms\[2\].settings.steps` was 500, is 501"),
            ("steps = 1000", "steps = 1000\nmore = 1", "`learn.more` was nothing, is 1"),
        ],
    )
    def test_a_changed_plan_is_refused_with_what_changed(self, path, old, new, says):
        registration.register(path, current(path))
        changed(path, old, new)
        for refuse in (hold, registration.register):
            with pytest.raises(ConfigError, match=says):
                refuse(path, current(path))

    def test_a_changed_file_is_refused(self, path):
        registration.register(path, current(path))
        (path.parent / "cell.toml").write_text("difficulty = 2\n")
        with pytest.raises(ConfigError, match=r"not committed: the file .*/cell.toml has changed"):
            hold(path, current(path))

    @pytest.mark.skipif(shutil.which("git") is None, reason="wants git")
    @pytest.mark.parametrize("gone", [False, True])
    def test_it_says_how_the_study_goes_on_beside_changed_files(self, path, gone, monkeypatch):
        monkeypatch.chdir(path.parent)
        path = Path("plan.toml")
        registration.register(path, current(path))
        first = commit(path.parent)
        if gone:
            Path("cell.toml").unlink()
        else:
            Path("cell.toml").write_text("difficulty = 2\n")
        commit(path.parent)
        out, work = Path("results"), Path("runs")
        now = registration.now(plan.load(path), path.parent, whole=False)
        with pytest.raises(ConfigError) as error:
            registration.hold(path, now, out, work)
        said = str(error.value)
        what = "is gone" if gone else "has changed"
        for words in (
            f"these files changed since the registration of {first} ",
            f": the file cell.toml {what}: run the study from a worktree of that commit: ",
            f"`git worktree add ../study-{first} {first}`",
            f"`headway study --out {out.resolve()} --work {work.resolve()}`",
            f"`make study STUDY_OUT={out.resolve()} STUDY_WORK={work.resolve()}`",
        ):
            assert words in said

    def test_results_are_read_by_the_plan_that_was_registered(self, path):
        wanted = plan.load(path)
        registration.register(path, current(path))
        changed(path, "rounds = 2", "rounds = 3")
        (path.parent / "cell.toml").unlink()
        made, held = registration.registered(path)
        assert made == wanted
        assert plan.units(made) == plan.units(wanted)
        assert held == registration.read(path)

    def test_code_of_another_checkout_does_not_run_in_its_place(self, path):
        other = path.parent / "tests"
        other.mkdir()
        (other / "study_fake.py").write_text("fake = None\n")
        changed(path, '["cell.toml"]', '["cell.toml", "tests/*.py"]')
        registration.register(path, current(path))
        registration.check_code(path, "study_fake:fake")  # beside another folder: no copy of it
        running = Path(units.load_runner("study_fake:fake").run.__code__.co_filename).resolve()
        below = path.parent / running.parts[-3] / "tests"
        below.mkdir(parents=True)
        (below / "study_fake.py").write_text("fake = None\n")
        registration.path_of(path).unlink()
        changed(path, '"tests/*.py"', '"**/*.py"')
        registration.register(path, current(path))
        with pytest.raises(ConfigError, match=f"found that {running} would run"):
            registration.check_code(path, "study_fake:fake")

    def test_an_edited_registration_is_refused(self, path):
        file = registration.register(path, current(path))
        file.write_text(file.read_text().replace("900.0", "900.00"))
        with pytest.raises(ConfigError, match="edited"):
            hold(path, current(path))
        file.write_text("{")
        with pytest.raises(ConfigError, match="no registration"):
            hold(path, current(path))

    def test_patterns_reach_upwards_and_must_find_something(self, path):
        folder = path.parent / "study"
        folder.mkdir()
        inner = write_plan(folder)
        changed(inner, '["cell.toml"]', '["../*.toml", "../none/**/*.py"]')
        with pytest.raises(ConfigError, match=r"\.\./none/\*\*/\*\.py, found none"):
            current(inner)
        changed(inner, ', "../none/**/*.py"', "")
        assert sorted(current(inner).files) == ["../cell.toml", "../plan.toml"]


@pytest.fixture
def unit(path):
    return plan.units(plan.load(path))[4]


class TestResults:
    def write(self, folder, unit, found=None):
        return results.write(folder, "fake", "5ha", unit, found or result(unit))

    def test_they_come_back_as_they_were(self, tmp_path, unit):
        file = self.write(tmp_path / "out", unit)
        assert file.name == "1.6_pick_place_1.csv"
        assert results.read(file, "5ha", unit).rounds == result(unit).rounds
        back = sorted(results.read(file, "5ha", unit).orders, key=lambda o: (o.round, o.seed))
        for a, b in zip(
            back, sorted(result(unit).orders, key=lambda o: (o.round, o.seed)), strict=True
        ):
            assert (a.seed, a.success, a.failed, a.closed) == (
                b.seed,
                b.success,
                b.failed,
                b.closed,
            )
            assert a.peak_n == pytest.approx(b.peak_n, rel=1e-5)

    @pytest.mark.parametrize(
        ("arm", "settings", "counted"),
        [("B0", {}, "robot_s"), ("own", {"credit": "demonstrations"}, "robot_s"),
         ("1.6", {}, "operator_s"), ("own", {}, "operator_s")],
    )  # fmt: skip
    def test_older_files_did_not_count_demonstrations(self, tmp_path, unit, arm, settings, counted):
        found = result(unit)
        unit = structs.replace(unit, arm=arm, settings=settings)
        file = self.write(tmp_path, unit, found)
        assert results.read(file, "5ha", unit).rounds == found.rounds  # today's are as they are
        lines = file.read_text().splitlines(keepends=True)
        body = "".join(["# headway study results 1\n", *lines[1:-1]])
        rows = int(lines[-1].split()[2])
        file.write_text(f"{body}# end {rows} rows {hashlib.sha256(body.encode()).hexdigest()}\n")
        rounds = results.read(file, "5ha", unit).rounds
        assert [r.operator_s for r in rounds] == [getattr(r, counted) for r in found.rounds]

    def test_every_column_is_explained(self):
        for column in results.COLUMNS:
            assert f"| {column} |" in results.__doc__

    def test_a_file_that_stops_or_is_changed_is_refused(self, tmp_path, unit):
        file = self.write(tmp_path, unit)
        text = file.read_text()
        for cut in (1, len(text) // 2, len(text) - 90):
            file.write_text(text[:cut])
            with pytest.raises(RecordingError):
                results.read(file, "5ha", unit)
        file.write_text(text[: text.rindex("# end")])
        with pytest.raises(Truncated):
            results.read(file, "5ha", unit)
        file.write_text(text.replace("test,2,main,20010007,1", "test,2,main,20010007,0"))
        assert file.read_text() != text
        with pytest.raises(RecordingError, match="found it changed"):
            results.read(file, "5ha", unit)
        file.write_bytes(b"\xff\xfe" + text.encode())
        with pytest.raises(RecordingError, match="cannot read"):
            results.read(file, "5ha", unit)

    def test_a_foreign_file_is_refused(self, tmp_path, unit, path):
        file = self.write(tmp_path / "out", unit)
        with pytest.raises(
            RecordingError, match=r"wanted `registration 0ther`, found|another plan"
        ):
            results.read(file, "0ther", unit)
        other = plan.units(plan.load(path))[2]
        with pytest.raises(RecordingError, match=r"unit 1.5 pick_place 1"):
            results.read(file, "5ha", other)
        (file.parent / "notes.csv").write_text("a,b\n")
        with pytest.raises(RecordingError, match=r"notes\.csv"):
            results.finished(file.parent, "5ha", [unit, other])
        (file.parent / "notes.csv").unlink()
        assert list(results.finished(file.parent, "5ha", [unit, other])) == [unit.key]

    def test_what_is_incomplete_or_counted_twice_is_not_written(self, tmp_path, unit):
        whole = result(unit)
        wrong = {
            "each test order once": (whole.rounds, (*whole.orders, whole.orders[3])),
            "119 of them": (whole.rounds, whole.orders[1:]),
            "rounds 1 to 2": (whole.rounds[:1], whole.orders),
            "900 to 960 s": ((whole.rounds[0], _long(whole.rounds[1])), whole.orders),
        }
        for says, parts in wrong.items():
            says = says.replace("119", str(len(whole.orders) - 1))
            with pytest.raises(RecordingError, match=says):
                self.write(tmp_path, unit, units.UnitResult(*parts))
        assert not list(tmp_path.glob("*_*.csv"))

    def test_a_full_disk_leaves_the_old_file(self, tmp_path, unit, monkeypatch):
        file = self.write(tmp_path, unit)
        before = file.read_bytes()

        def full(fd):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            self.write(tmp_path, unit)
        assert file.read_bytes() == before
        assert not list(tmp_path.glob("*.part"))


def _long(r):
    return units.Round(
        round=r.round, robot_s=2000.0, operator_s=0.0, episodes=1, interventions=0, success=0.0,
        accepted=True,
    )  # fmt: skip


class TestRunner:
    def test_functions_and_objects_are_runners(self):
        assert units.load_runner("study_fake:fake").run
        assert units.load_runner("study_fake:result").run is result

    @pytest.mark.parametrize(
        "name", ["study_fake", "study_fake:none", "nothing:x", "study_fake:TRUE"]
    )
    def test_what_is_none_is_said(self, name):
        with pytest.raises(ConfigError, match="wanted a"):
            units.load_runner(name)
