"""The cache of engines: no part of a key is forgotten, and no damage is served."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cut_disk import CutDisk, FullDisk, PowerCut

from headway.bundle.disk import Disk
from headway.edge.engines.cache import SCHEMA, Cache, Record
from headway.edge.engines.key import EngineKey, differences, model_digest, options_part
from headway.edge.engines.options import DEFAULT, NOT_BUILT_IN, EngineOptions, Profile
from headway.errors import BundleError, Untrusted

ONE = Profile((1, 3), (1, 3), (1, 3))
KEY = EngineKey(
    model="a" * 64, graph=1, kind="tensorrt", library="tensorrt 10.3.0, library 10.3.0.30", sm="87",
    gpu="Orin", driver="540.4.0", jetpack="L4T R36.4.3", precision="fp16", profile={"x": ONE},
    options=options_part(DEFAULT),
)  # fmt: skip
OTHER: dict[str, Any] = {
    "model": "b" * 64, "graph": 2, "kind": "tensorrt_rtx",
    "library": "tensorrt 10.3.0, library 10.3.0.31", "sm": "89", "gpu": "Thor",
    "driver": "540.4.1", "jetpack": "L4T R36.4.4", "precision": "fp32",
    "profile": {"x": Profile((1, 3), (1, 3), (2, 3))},
    "options": options_part(EngineOptions(workspace_mb=64)),
}  # fmt: skip
# An option each of a build, with another value.
OPTIONS: dict[str, Any] = {
    "workspace_mb": 64, "level": 5, "refit": True, "version_compatible": True,
    "hardware": "ampere_or_newer", "weight_streaming": True, "dla": 0, "sm": ("89",),
}  # fmt: skip


def record(key: EngineKey = KEY) -> Record:
    return Record(
        schema=SCHEMA, key=key, onnx="c" * 64, files=(), pairs=(), numbers="fp16", plan="", size=0,
        sha256="", options=DEFAULT, seconds=1.0, layers=3,
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "engines")


@pytest.mark.parametrize("part", EngineKey.__struct_fields__)
def test_each_part_of_the_key_makes_another_engine(part: str, cache: Cache) -> None:
    other = msgspec.structs.replace(KEY, **{part: OTHER[part]})
    assert other.digest != KEY.digest
    cache.store(record(), b"plan")
    assert cache.find(other) is None
    assert len(differences(KEY, other)) == 1
    found = cache.find(KEY)
    assert found is not None
    assert found.plan == b"plan"


def test_every_option_of_a_build_is_in_the_key() -> None:
    apart = {options_part_digest(EngineOptions(**{name: value})) for name, value in OPTIONS.items()}
    apart |= {options_part_digest(DEFAULT)}
    apart |= {options_part_digest(EngineOptions(dla=0, dla_fallback=True))}
    assert len(apart) == len(OPTIONS) + 2
    own = {"precision", "profiles"}  # parts of their own
    assert {*OPTIONS, *own, *NOT_BUILT_IN, "dla_fallback"} == set(EngineOptions.__struct_fields__)


def options_part_digest(options: EngineOptions) -> str:
    return msgspec.structs.replace(KEY, options=options_part(options)).digest


def test_what_an_engine_is_only_run_with_is_not_in_the_key() -> None:
    run = EngineOptions(cache="/elsewhere", cuda_graph=False)
    assert options_part_digest(run) == options_part_digest(DEFAULT)


def test_the_models_digest_covers_weights_in_other_files_and_their_names(tmp_path: Path) -> None:
    for name in ("m.onnx", "a.bin", "b.bin"):
        (tmp_path / name).write_text(name)
    model = tmp_path / "m.onnx"
    digests = {model_digest(model), model_digest(model, ["a.bin"]), model_digest(model, ["b.bin"])}
    whole = model_digest(model, ["a.bin", "b.bin"])
    assert whole == model_digest(model, ["b.bin", "a.bin"])
    (tmp_path / "a.bin").write_text("b.bin")
    (tmp_path / "b.bin").write_text("a.bin")
    assert len(digests | {whole, model_digest(model, ["a.bin", "b.bin"])}) == 5


def test_the_record_lies_beside_the_plan_and_says_all_of_the_key(cache: Cache) -> None:
    stored = cache.store(record(), b"plan")
    assert (cache.folder / stored.plan).read_bytes() == b"plan"
    told = msgspec.json.decode((cache.folder / f"{KEY.digest}.json").read_bytes(), type=Record)
    assert told == stored
    assert cache.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda plan: plan.write_bytes(b"pl"), "wanted 4 bytes, found 2"),
        (lambda plan: plan.write_bytes(b""), "wanted 4 bytes, found 0"),
        (lambda plan: plan.write_bytes(b"plan and more"), "wanted 4 bytes, found more than 4"),
        (lambda plan: plan.write_bytes(b"plaN"), "wanted SHA-256"),
        (lambda plan: plan.unlink(), "cannot be read"),
    ],
)
def test_a_damaged_plan_is_not_served(cache: Cache, harm: Any, message: str) -> None:
    harm(cache.folder / cache.store(record(), b"plan").plan)
    with pytest.raises(BundleError, match=rf"{message}.*headway build"):
        cache.find(KEY)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1}']
)
def test_a_damaged_record_is_not_served(cache: Cache, content: bytes) -> None:
    cache.store(record(), b"plan")
    (cache.folder / f"{KEY.digest}.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"is damaged.*headway build"):
        cache.find(KEY)


def test_a_record_of_another_schema_or_another_engine_is_not_served(cache: Cache) -> None:
    stored = cache.store(record(), b"plan")
    path = cache.folder / f"{KEY.digest}.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(stored, schema=99)))
    with pytest.raises(BundleError, match=f"wanted schema {SCHEMA}, found 99"):
        cache.find(KEY)
    moved = msgspec.structs.replace(stored, key=msgspec.structs.replace(KEY, sm="89"))
    path.write_bytes(msgspec.json.encode(moved))
    with pytest.raises(BundleError, match=r"record of another engine .sm 89, not 87"):
        cache.find(KEY)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(stored, plan="../plan")))
    with pytest.raises(BundleError, match="wanted the name of a file beside it"):
        cache.find(KEY)


def test_a_folder_that_others_can_write_is_refused(cache: Cache) -> None:
    cache.store(record(), b"plan")
    cache.folder.chmod(0o777)
    for call in (
        lambda: cache.find(KEY), cache.records, lambda: cache.store(record(), b"plan"),
        lambda: cache.best("a" * 64),
    ):  # fmt: skip
        with pytest.raises(Untrusted, match="can be written by everybody"):
            call()


def test_a_plan_that_others_can_write_is_refused(cache: Cache) -> None:
    stored = cache.store(record(), b"plan")
    (cache.folder / stored.plan).chmod(0o666)
    with pytest.raises(Untrusted, match="can be written by everybody"):
        cache.find(KEY)


def test_a_new_engine_takes_the_old_ones_place_and_leaves_nothing(cache: Cache) -> None:
    cache.store(record(), b"old")
    cache.store(record(), b"new")
    found = cache.find(KEY)
    assert found is not None
    assert found.plan == b"new"
    assert len(list(cache.folder.iterdir())) == 2


# Two files, each written, synced, renamed, and its folder synced; then the old plan is removed.
STEPS = 9


@pytest.mark.parametrize("lucky", [False, True])
@pytest.mark.parametrize("step", range(STEPS + 1))
def test_whenever_the_power_goes_there_is_the_old_engine_or_the_new_one(
    cache: Cache, step: int, lucky: bool
) -> None:
    cache.store(record(), b"old")
    disk = CutDisk(step, lucky)
    with pytest.raises(PowerCut) if step < STEPS else contextlib.nullcontext():
        Cache(cache.folder, disk).store(record(), b"new")
    disk.lose()
    found = cache.find(KEY)
    assert found is not None
    renamed, synced = 7, 8  # calls until the new record has its name, and until that is on the disk
    new = step >= synced or (lucky and step >= renamed)
    assert found.plan == (b"new" if new else b"old")


@pytest.mark.parametrize("at", range(2))
def test_a_full_disk_leaves_the_old_engine_and_nothing_else(cache: Cache, at: int) -> None:
    cache.store(record(), b"old")
    with pytest.raises(BundleError, match=r"No space left on device.*--cache"):
        Cache(cache.folder, FullDisk(at)).store(record(), b"new")
    found = cache.find(KEY)
    assert found is not None
    assert found.plan == b"old"
    assert not list(cache.folder.glob(".part-*"))


def test_two_that_build_at_a_time_do_not_write_to_one_file(cache: Cache) -> None:
    class Beside(Disk):
        """Another builder stores the same engine while the first has half written its own."""

        def sync(self, path: Path) -> None:
            if not other:
                other.append(cache.store(record(), b"of the other"))
            super().sync(path)

    other: list[Record] = []
    Cache(cache.folder, Beside()).store(record(), b"mine")
    found = cache.find(KEY)
    assert found is not None
    assert found.plan == b"mine"


def test_what_a_killed_writer_left_is_swept_away(cache: Cache) -> None:
    cache.store(record(), b"plan")
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    left = cache.folder / f".part-{child.stdout.strip()}-x"
    mine = cache.folder / f".part-{os.getpid()}-x"
    left.write_bytes(b"half")
    mine.write_bytes(b"at work")
    cache.write("timing", b"t")
    assert not left.exists()
    assert mine.exists()


def test_a_missing_cache_holds_nothing(cache: Cache) -> None:
    assert cache.find(KEY) is None
    assert cache.records() == ([], [])
    assert cache.best("a" * 64) is None
    assert cache.read("timing") == b""
