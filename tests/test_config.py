"""A configuration that does not fit: an error with the file, the key and the nearest valid key."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta
from null_robot import null_table

from headway import config, plugins
from headway.config import Struct
from headway.edge.control import settings
from headway.edge.control.settings import Settings
from headway.errors import ConfigError


class Inner(Struct, frozen=True):
    width: float = 1.0
    height: float = 1.0


class Outer(Struct, frozen=True):
    speed: float
    name: str = "x"
    inner: Inner = Inner()
    maybe: Inner | None = None
    many: list[Inner] = []  # noqa: RUF012 - msgspec copies defaults
    pairs: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}  # noqa: RUF012 - msgspec copies defaults
    either: list[Inner] | None = None
    free: dict[str, object] = {}  # noqa: RUF012 - msgspec copies defaults


def write(tmp_path, text):
    path = tmp_path / "robot.toml"
    path.write_text(text)
    return path


def test_what_fits_is_decoded(tmp_path):
    path = write(tmp_path, "speed = 2.5\n[inner]\nwidth = 3.0\n[[many]]\nheight = 4.0\n")
    assert config.load(path, Outer) == Outer(
        speed=2.5, inner=Inner(width=3.0), many=[Inner(height=4.0)]
    )


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("speeed = 1.0", "speeed", "speed"),
        ("speed = 1.0\n[inner]\nwidht = 1.0", "inner.widht", "inner.width"),
        ("speed = 1.0\n[maybe]\nwidht = 1.0", "maybe.widht", "maybe.width"),
        ("speed = 1.0\n[[many]]\n[[many]]\nheigth = 1.0", "many[1].heigth", "many[1].height"),
        ("speed = 1.0\n[[pairs]]\nheigth = 1.0", "pairs[0].heigth", "pairs[0].height"),
        ("speed = 1.0\n[named.a]\nheigth = 1.0", "named.a.heigth", "named.a.height"),
        ("speed = 1.0\n[[either]]\nheigth = 1.0", "either[0].heigth", "either[0].height"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(tmp_path, text, key, near):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as e:
        config.load(path, Outer)
    assert str(e.value) == f"{path}: unknown key `{key}`: did you mean `{near}`?"
    assert e.value.exit_code == 2


class Words(Struct, frozen=True):
    fit: Literal["exact", "stretch", "crop", "pad"] = "exact"
    maybe: Literal["a", "b"] | None = None
    schema: Literal[1, 2] = 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('fit = "padd"', "`fit` wants one of exact, stretch, crop, pad, found 'padd': did you mean "
         "`pad`?"),
        ('fit = "zoom"', "`fit` wants one of exact, stretch, crop, pad, found 'zoom'"),
        ("fit = 3", "`fit` wants one of exact, stretch, crop, pad, found 3"),
        ('maybe = "c"', "`maybe` wants one of a, b, found 'c'"),
        ("schema = 3", "`schema` wants one of 1, 2, found 3"),
        ("schema = true", "`schema` wants one of 1, 2, found True"),
    ],
)  # fmt: skip
def test_a_word_that_is_none_of_the_valid_ones_lists_them(tmp_path, text, says):
    with pytest.raises(ConfigError) as e:
        config.load(write(tmp_path, text), Words)
    assert str(e.value).endswith(says)


def test_words_that_are_valid_are_taken(tmp_path):
    path = write(tmp_path, 'fit = "pad"\nmaybe = "a"\nschema = 2')
    assert config.load(path, Words) == Words("pad", "a", 2)


def test_an_unknown_key_like_no_other_lists_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown key `inner\.zzz`: valid: width, height"):
        config.load(write(tmp_path, "speed = 1.0\ninner = { zzz = 1 }"), Outer)


def test_free_tables_are_left_to_whoever_decodes_them(tmp_path):
    path = write(tmp_path, "speed = 1.0\n[free]\nanything = [1, 2]\n")
    assert config.load(path, Outer).free == {"anything": [1, 2]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed = 'fast'", r"Expected `float`, got `str` - at key `speed`, found 'fast'"),
        ("name = 'x'", "wanted the key `speed`, found none"),
        ("speed = 1.0\n[inner]\nwidth = true", r"got `bool` - at key `inner\.width`"),
        ("speed = 1.0\nmany = 3", r"Expected `array`, got `int` - at key `many`"),
    ],
)
def test_a_wrong_type_is_named_with_its_key(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=says) as e:
        config.load(path, Outer)
    assert str(path) in str(e.value)


class Cell(Struct, frozen=True):
    arm: Outer
    name: str


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"wanted a section \[arm\], found none"),
        ("# nothing yet\n", r"wanted a section \[arm\], found none"),
        ("name = 'x'\n[arm]\n", r"wanted the key `arm\.speed`, found none"),
        ("name = 'x'\narm = 3\n", "Expected `object`, got `int` - at key `arm`"),
        ("[arm]\nspeed = 1.0\n", "wanted the key `name`, found none"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        config.load(write(tmp_path, text), Cell)


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-16", "wanted TOML in UTF-8, found UTF-16: save it as UTF-8"),
        ("latin-1", r"found the byte 0xb0 in line 2, .*: save it as UTF-8"),
    ],
)
def test_another_encoding_is_named_with_what_to_do(tmp_path, encoding, says):
    path = tmp_path / "robot.toml"
    path.write_bytes("speed = 1.0\n# 20 °C\n".encode(encoding))
    with pytest.raises(ConfigError, match=says) as e:
        config.load(path, Outer)
    assert str(path) in str(e.value)


class Bounded(Struct, frozen=True):
    """One field of each sort of number."""

    plain: float = 0.0
    positive: config.Positive = 1.0
    share: config.Fraction = 1.0
    limit: Annotated[float, Meta(gt=0.0), config.INFINITE] = 1.0
    maybe: config.Positive | None = None
    count: Annotated[int, Meta(ge=1, le=10)] = 1
    place: tuple[float, float] = (0.0, 0.0)
    many: tuple[config.Positive, ...] = ()
    named: dict[str, float] = {}  # noqa: RUF012 - msgspec copies defaults


class Sections(Struct, frozen=True):
    part: Bounded = Bounded()
    parts: list[Bounded] = []  # noqa: RUF012 - msgspec copies defaults


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("plain = nan", "`part.plain` wants a finite number, found nan"),
        ("plain = -inf", "`part.plain` wants a finite number, found -inf"),
        ("positive = nan", "`part.positive` wants a finite number > 0, found nan"),
        ("positive = 0", "`part.positive` wants a finite number > 0, found 0"),
        ("share = 1.5", "`part.share` wants a finite number > 0 and <= 1, found 1.5"),
        ("limit = nan", "`part.limit` wants a number > 0, found nan"),
        ("limit = -1.0", "`part.limit` wants a number > 0, found -1.0"),
        ("maybe = nan", "`part.maybe` wants a finite number > 0, found nan"),
        ("count = 11", "`part.count` wants a whole number >= 1 and <= 10, found 11"),
        ("place = [0.0, nan]", "`part.place[1]` wants a finite number, found nan"),
        ("many = [1.0, 0.0]", "`part.many[1]` wants a finite number > 0, found 0.0"),
        ("named = { a = inf }", "`part.named.a` wants a finite number, found inf"),
    ],
)
def test_a_number_that_is_none_or_out_of_bounds_is_shown_with_what_is_wanted(tmp_path, text, says):
    path = write(tmp_path, f"[part]\n{text}\n")
    with pytest.raises(ConfigError) as e:
        config.load(path, Sections)
    assert str(e.value) == f"{path}: {says}"
    path.write_text(f"[[parts]]\n[[parts]]\n{text}\n")
    with pytest.raises(ConfigError) as e:
        config.load(path, Sections)
    assert str(e.value) == f"{path}: {says.replace('part.', 'parts[1].')}"


def test_infinity_is_a_number_where_the_type_says_so(tmp_path):
    path = write(tmp_path, "[part]\nlimit = inf\n")
    assert config.load(path, Sections).part.limit == float("inf")


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_too_long_for_a_float_is_not_written_out(digits):
    with pytest.raises(ConfigError, match="wants a finite number > 0, found") as e:
        config.decode({"positive": 10**digits}, Bounded, "robot")
    assert len(str(e.value)) < 150


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = tmp_path / "robot.toml"
    path.write_bytes(b"\xef\xbb\xbfspeed = 2.5\n")
    assert config.load(path, Outer).speed == 2.5


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 1"):
        config.load(write(tmp_path, "speed = = 1"), Outer)
    with pytest.raises(ConfigError, match=r"found none: that folder has robot\.toml"):
        config.load(tmp_path / "robto.toml", Outer)
    with pytest.raises(ConfigError, match="found none: there is no TOML file there"):
        config.load(tmp_path / "no" / "robot.toml", Outer)
    with pytest.raises(ConfigError, match="cannot read"):
        config.load(tmp_path, Outer)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="wanted TOML in UTF-8"):
        config.load(binary, Outer)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed = " + "[" * 5000 + "]" * 5000, "tables or lists too deep"),
        ("speed = " + "{a = " * 5000, "tables or lists too deep"),
        ("speed = " + "9" * 5000, "4300"),
        ("# " + "x" * 200, "wanted TOML of 100 bytes at most, found more"),
    ],
)
def test_a_file_that_is_made_to_break_its_reader(tmp_path, monkeypatch, text, says):
    if "100 bytes" in says:
        monkeypatch.setattr(config, "_LARGEST", 100)
    with pytest.raises(ConfigError, match=says):
        config.load(write(tmp_path, text), Outer)


def test_a_home_folder_that_there_is_not(tmp_path):
    assert config.at_home(tmp_path / "~x") == tmp_path / "~x"
    with pytest.raises(ConfigError, match=r"wanted the home folder that ~nobody-here/a begins"):
        config.at_home("~nobody-here/a")
    table = {"path": "~nobody-here/run.mcap"}
    with pytest.raises(ConfigError, match="give the whole path"):
        plugins.with_paths("drivers.arms", "replay", table, tmp_path)


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ConfigError, match=r"found `smi`: did you mean `sim`\?"):
        plugins.load("drivers.arms", "smi")
    assert {"sim", "null", "replay"} <= set(plugins.kinds("drivers.arms"))
    assert not any(k.startswith("_") for k in plugins.kinds("drivers.arms"))


class TestRunConfiguration:
    def test_limits_of_the_guard_are_checked_where_they_are_read(self):
        table = null_table()
        table["guard"]["force_max"] = -1.0
        with pytest.raises(ConfigError, match=r"robot: force_max wants a positive number.*guard"):
            config.decode(table, Settings, "robot")

    def test_rates_divide_the_loops(self, tmp_path):
        text = (
            "[arm]\nkind='null'\n[task]\nsource={centre=[0,0],half=[1,1]}\n"
            "target={centre=[0,0],half=[1,1]}\n[guard]\nworkspace_min=[0,0,0]\n"
            "workspace_max=[1,1,1]\nforce_max=1\ntorque_max=1\n[loop]\nhz=500\n"
        )
        assert settings.load(write(tmp_path, text + "policy_hz=25\n")).loop.policy_hz == 25.0
        for bad in ("policy_hz=30", "policy_hz=1000"):
            with pytest.raises(ConfigError, match=r"wants a divisor of hz = 500"):
                settings.load(write(tmp_path, text + bad))
        for bad in ("pro_hz=0", "pro_hz=-5", "pro_hz=nan"):
            with pytest.raises(ConfigError, match=r"`loop\.pro_hz` wants a finite number > 0"):
                settings.load(write(tmp_path, text + bad))
        for bad in ("hz=0", "hz=-1", "hz=inf", "hz=nan"):
            with pytest.raises(ConfigError, match=r"`loop\.hz` wants a finite number >= 1"):
                settings.load(write(tmp_path, text.replace("hz=500", bad)))
