"""The CUDA kernels as nvcc makes them: resources, where they are found, what is said without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headway.errors import Missing
from headway.kernels.cuda import build, compiled

TABLE = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "cuda-resources.json"

PTXAS = """\
ptxas info    : Compiling entry function 'headway_empty' for 'sm_90'
ptxas info    : Function properties for headway_empty
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 4 registers, used 0 barriers
ptxas info    : Compiling entry function 'headway_batch' for 'sm_87'
ptxas info    : Function properties for headway_batch
    40 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 121 registers, used 1 barriers, 128 bytes smem, 408 bytes cmem[0]
"""


def test_the_compilers_words_are_read() -> None:
    found = build.resources(PTXAS)
    assert found["sm_90"]["headway_empty"]["registers"] == 4
    assert found["sm_87"]["headway_batch"] == {
        "registers": 121, "spills": 20, "stack": 40, "static_shared": 128,
    }  # fmt: skip


def fits(table: Any) -> None:
    for arch, found in table["architectures"].items():
        assert set(found) == set(build.KERNELS), arch
        for name, r in found.items():
            assert r["spills"] == 0, (arch, name, r)
            assert r["registers"] <= 128, (arch, name, r)  # 65536 / (2 blocks x 256 threads)


def test_resources_as_committed_are_of_this_source_and_have_no_spills() -> None:
    table = json.loads(TABLE.read_text())
    assert table["digest"] == build.digest(), "kernels or spec have changed: run `make cuda`"
    assert set(table["architectures"]) == {f"sm_{a}" for a in build.ARCHITECTURES}
    fits(table)


@pytest.mark.slow
def test_resources_as_compiled_here(tmp_path: Path) -> None:
    if build.nvcc() is None:
        pytest.skip("no nvcc: the CUDA kernels cannot be compiled here")
    made = build.compile_to(tmp_path, (90,), "cubin")
    fits(json.loads(made.with_suffix(".json").read_text()))
    assert made.stat().st_size > 10_000


def test_no_compiler_and_nothing_shipped_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "nvcc", lambda: None)
    monkeypatch.setattr(build, "digest", lambda: "0" * 16)
    with pytest.raises(Missing, match="no nvcc"):
        compiled.image((9, 0))
    kept = tmp_path / "headway" / "cuda" / "sm_90" / "features-0000000000000000.cubin"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"x")
    assert compiled.image((9, 0)) == kept


def test_what_is_shipped_serves_no_older_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its PTX is of the first architecture: an A100 (sm_80) wants kernels of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "nvcc", lambda: None)
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "digest", lambda: "2" * 16)
    shipped = tmp_path / "features-2222222222222222.fatbin"
    shipped.write_bytes(b"x")
    for newer in ((8, 7), (8, 9), (9, 0), (12, 0)):
        assert compiled.image(newer) == shipped
    with pytest.raises(Missing, match="no nvcc"):
        compiled.image((8, 6))


@pytest.mark.parametrize(
    ("known", "wanted"),
    [((80, 87, 89, 90), (87, 90)), ((87, 90, 110, 121), (87, 90, 110)), ((), (87, 90, 110))],
)
def test_a_wheel_is_compiled_for_what_the_compiler_knows(
    known: tuple[int, ...], wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvcc 12.6 of JetPack 6 refuses sm_110, and the build of the wheel with it."""
    fake = tmp_path / "nvcc"
    fake.write_text("#!/bin/sh\n" + "".join(f"echo compute_{a}\n" for a in known))
    fake.chmod(0o755)
    monkeypatch.setattr(build, "nvcc", lambda: str(fake))
    assert build.shipped() == wanted


def test_a_compiled_file_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may look for it meanwhile; what is moved between file systems is copied."""
    fake, out = tmp_path / "nvcc", tmp_path / "out"
    fake.write_text('#!/bin/sh\nfor a; do [ "$last" = -o ] && echo x > "$a"; last=$a; done\n')
    fake.chmod(0o755)
    monkeypatch.setattr(build, "nvcc", lambda: str(fake))
    moved: list[tuple[Path, Path]] = []
    replace = build.os.replace
    monkeypatch.setattr(build.os, "replace", lambda a, b: (moved.append((a, b)), replace(a, b)))
    made = build.compile_to(out, (90,), "cubin")
    assert made.read_text() == "x\n"
    assert [(a.parent.parent, b) for a, b in moved] == [(out, made)]
    assert sorted(p.suffix for p in out.iterdir()) == [".cubin", ".json"]


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvcc"
    fake.write_text("#!/bin/sh\necho unsupported gpu architecture >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "nvcc", lambda: str(fake))
    monkeypatch.setattr(build, "digest", lambda: "1" * 16)
    with pytest.raises(Missing, match="unsupported gpu architecture"):
        compiled.image((9, 0))


def test_the_digest_follows_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.digest()
    assert before == build.digest()
    monkeypatch.setattr(build, "header", lambda: "another spec")
    assert build.digest() != before
