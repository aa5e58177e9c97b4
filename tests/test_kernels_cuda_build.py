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
