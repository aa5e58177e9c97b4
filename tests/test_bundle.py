"""A bundle that is not exactly what was saved is refused, with the file and the reason."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway import bundle
from headway.__main__ import main
from headway.actions import ActionSpace
from headway.bundle import Bundle, Image, Manifest, Policy, Pro, Provenance, StateInput, Tensor
from headway.bundle import folder as bundle_folder
from headway.bundle.folder import check_place
from headway.errors import BundleError
from headway.instructions import TokensSpec

FILES: dict[str, bytes | Path] = {"model.onnx": b"weights", "extra/notes.txt": b"hello"}


def manifest(**changes: Any) -> Manifest:
    base = Manifest(
        kind="pro",
        name="head",
        onnx="model.onnx",
        inputs=(Tensor(name="features", shape=(1, 4), unit="1"),),
        outputs=(Tensor(name="risk", shape=(1, 1), unit="1"),),
        pro=Pro(spec_hash="ab" * 32, rate_hz=50.0, hidden=8, temperature={"risk": 1.3}),
        provenance=Provenance(command="make models", seed=7, data="none", date="2026-01-01"),
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return bundle.save(tmp_path / "head", manifest(), FILES)


def test_what_is_saved_is_what_is_loaded(saved: Bundle, tmp_path: Path) -> None:
    again = bundle.load(saved.path)
    assert again == saved
    assert again.onnx.read_bytes() == b"weights"
    assert set(again.manifest.files) == set(FILES)
    assert again.manifest.pro == manifest().pro
    assert again.manifest.provenance.seed == 7
    assert os.listdir(tmp_path) == ["head"]  # no temporary folder stays


def test_a_file_may_be_given_by_path_and_a_bundle_replaced(saved: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "w.bin"
    source.write_bytes(b"other weights")
    new = bundle.save(saved.path, manifest(name="second"), {"model.onnx": source})
    assert bundle.load(saved.path).manifest.name == "second"
    assert new.onnx.read_bytes() == b"other weights"
    assert not (new.path / "extra").exists()


def test_policy_section_survives(tmp_path: Path) -> None:
    space = ActionSpace(
        names=("a", "b", "grip"), space="joint", mode="velocity", chunk=8, dt_s=0.1, grip="width",
        scale=(0.5, 0.5, 1.0), offset=(0.0, 0.1, 0.0),
    )  # fmt: skip
    policy = Policy(
        actions=space,
        output="risk",
        rate_hz=10.0,
        images=(
            Image(
                camera="wrist", input="rgb", height=96, width=64, fit="pad", layout="chw",
                scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), steps=2,
            ),
        ),
        state=(StateInput(input="state", names=("q.a", "action.b"), units=("deg", "")),),
        instruction=TokensSpec(tokenizer="extra/notes.txt", length=8),
        stride_s=0.1,
    )  # fmt: skip
    inputs = (
        Tensor(name="rgb", shape=(1, 2, 3, 96, 64)),
        Tensor(name="state", shape=(1, 2), low=(-1.0, 0.0), high=(1.0, 2.0), between=(0.0, 1.0)),
        Tensor(name="tokens", shape=(1, 8), dtype="int64"),
    )
    outputs = (Tensor(name="risk", shape=(1, 8, 3)),)
    m = manifest(kind="policy", pro=None, policy=policy, inputs=inputs, outputs=outputs)
    assert bundle.save(tmp_path / "p", m, FILES).manifest.policy == policy
    with pytest.raises(BundleError, match=r"wants extra/notes\.txt, which is not among"):
        bundle.save(tmp_path / "q", m, {"model.onnx": b"weights"})


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((path / "bundle.json").read_text())
    change(data)
    (path / "bundle.json").write_text(json.dumps(data))


def rename_file(name: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        data["files"][name] = data["files"].pop("extra/notes.txt")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=3), "wanted schema 2 or 1, found 3"),
        (lambda d: d.pop("schema"), "wanted schema 2 or 1, found None"),
        (lambda d: d.update(nmae="x"), "unknown key `nmae`: did you mean `name`"),
        (lambda d: d["pro"].update(rate=1), "unknown key `pro.rate`: did you mean `pro.rate_hz`"),
        (lambda d: d.pop("onnx"), "onnx"),
        (lambda d: d.update(onnx="other.onnx"), "other.onnx is not among its files"),
        (lambda d: d.update(kind="policy"), "wants the section `policy` alone, found pro"),
        (lambda d: d.update(kind="llm"), "llm"),
        (lambda d: d["inputs"][0].update(dtype="float8"), "dtype float8, valid"),
        (lambda d: d["inputs"][0].update(shape=[0, 4]), "dimensions >= 1"),
        (lambda d: d["inputs"][0].update(mean=[0.0, 1.0], std=[1.0, 1.0]), "mean has 2 values"),
        (lambda d: d["inputs"][0].update(mean=[0.0], std=[0.0]), "std wants numbers > 0"),
        (lambda d: d["inputs"][0].update(name="risk"), "distinct names"),
        (lambda d: d["inputs"][0].update(shape="4"), "inputs"),
        (lambda d: d["files"]["model.onnx"].update(size=3), "wants 3 bytes, found 7"),
        (lambda d: d["files"]["model.onnx"].update(sha256="0" * 64), "model.onnx was altered"),
        (rename_file("../notes.txt"), "plain relative path"),
        (rename_file("extra/../../notes.txt"), "plain relative path"),
        (rename_file("/etc/hostname"), "plain relative path"),
        (rename_file("extra\\notes.txt"), "plain relative path"),
        (rename_file("./extra/notes.txt"), "plain relative path"),
        (rename_file("C:notes.txt"), "plain relative path"),
        (rename_file("bundle.json"), "plain relative path"),
        (rename_file(""), "plain relative path"),
        (rename_file("missing.txt"), "wanted the file missing.txt, found none"),
        (rename_file("extra"), "wanted the file extra, found none"),
        (rename_file("x" * 300), "is not readable: File name too long"),
        (rename_file("x/" * 3000 + "x"), "is not readable: File name too long"),
    ],
)
def test_a_changed_manifest_is_refused(saved: Bundle, change: Any, message: str) -> None:
    edit(saved.path, change)
    with pytest.raises(BundleError, match=re.escape(message)):
        bundle.load(saved.path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"schema": "1"}'])
def test_what_is_no_manifest_is_refused(saved: Bundle, content: bytes) -> None:
    (saved.path / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        bundle.load(saved.path)


def test_an_altered_or_truncated_file_is_refused(saved: Bundle) -> None:
    saved.onnx.write_bytes(b"weightz")
    with pytest.raises(BundleError, match=r"model\.onnx was altered: wanted SHA-256"):
        bundle.load(saved.path)
    saved.onnx.write_bytes(b"weig")
    with pytest.raises(BundleError, match="wants 7 bytes, found 4"):
        bundle.load(saved.path)
    saved.onnx.unlink()
    with pytest.raises(BundleError, match=r"wanted the file model\.onnx"):
        bundle.load(saved.path)


def test_a_file_that_may_not_be_read_is_named(
    saved: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """root may read every file, so a file that says no is made up."""

    def denied(file: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(bundle_folder, "_sha256", denied)
    words = r"extra/notes\.txt is not readable: Permission denied: copy it again, or let"
    with pytest.raises(BundleError, match=words):
        bundle.load(saved.path)


def test_links_are_refused_even_when_the_content_fits(saved: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (saved.path / "extra" / "notes.txt").rename(outside / "notes.txt")
    (saved.path / "extra" / "notes.txt").symlink_to(outside / "notes.txt")
    with pytest.raises(BundleError, match="symbolic link"):
        bundle.load(saved.path)
    (saved.path / "extra" / "notes.txt").unlink()
    (saved.path / "extra").rmdir()
    (saved.path / "extra").symlink_to(outside)
    with pytest.raises(BundleError, match="symbolic link"):
        bundle.load(saved.path)


def test_no_folder_a_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"found nothing: give the folder that holds bundle\.json"
    ):
        bundle.load(tmp_path / "no")
    (tmp_path / "f").write_text("x")
    with pytest.raises(BundleError, match="found a file"):
        bundle.load(tmp_path / "f")
    (tmp_path / "d").mkdir()
    with pytest.raises(BundleError, match=r"wanted bundle\.json as a plain file"):
        bundle.load(tmp_path / "d")


def test_a_failed_save_leaves_what_was_there(saved: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot write the bundle"):
        bundle.save(saved.path, manifest(), {**FILES, "gone": tmp_path / "nowhere"})
    with pytest.raises(BundleError, match="plain relative path"):
        bundle.save(saved.path, manifest(), {**FILES, "../escape": b"x"})
    with pytest.raises(BundleError, match=r"model\.onnx is not among"):
        bundle.save(saved.path, manifest(), {"a": b""})
    assert bundle.load(saved.path) == saved
    assert os.listdir(tmp_path) == ["head"]


def test_what_is_not_accepted_is_not_put_in_place(saved: Bundle) -> None:
    seen = []

    def accept(made: Bundle) -> None:
        seen.append(made.onnx.read_bytes())
        raise BundleError("not this one")

    with pytest.raises(BundleError, match="not this one"):
        bundle.save(saved.path, manifest(), {**FILES, manifest().onnx: b"other"}, accept)
    assert seen == [b"other"]
    assert bundle.load(saved.path) == saved
    assert [p.name for p in saved.path.parent.iterdir()] == [saved.path.name]


def test_save_does_not_replace_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").write_text("x")
    for check in (check_place, lambda path: bundle.save(path, manifest(), FILES)):
        with pytest.raises(BundleError, match="found something else there"):
            check(tmp_path / "home")
    assert (tmp_path / "home" / "precious").read_text() == "x"


@pytest.mark.parametrize("name", ["file/head", "file/deep/head", "n" * 300, "n" * 300 + "/head"])
def test_a_place_that_cannot_be_written_is_said_also_beforehand(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    for check in (check_place, lambda path: bundle.save(path, manifest(), FILES)):
        with pytest.raises(BundleError, match="choose another place") as e:
            check(tmp_path / name)
        assert str(tmp_path / name) in str(e.value)
    assert os.listdir(tmp_path) == ["file"]


def test_training_a_head_finds_out_at_once(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "head"
    # there are no logs either: the place of the result is looked at before them
    assert main(["pro", "train", "no.csv", "--map", "no.toml", "--out", str(out)]) == 3
    assert f"cannot write the bundle {out}" in capsys.readouterr().err


def test_a_place_that_can_be_written_is_left_as_it_was(saved: Bundle, tmp_path: Path) -> None:
    check_place(tmp_path / "new" / "deep" / "head")
    check_place(saved.path)
    assert os.listdir(tmp_path) == ["head"]
    assert bundle.load(saved.path) == saved


MODELS = Path(__file__).parents[1] / "models"
SHIPPED = sorted(p.parent.relative_to(MODELS).as_posix() for p in MODELS.rglob("bundle.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_whole_and_name_no_place_on_a_machine(name: str) -> None:
    made = bundle.load(MODELS / name)
    for file in made.manifest.files:
        data = (made.path / file).read_bytes()
        assert not re.search(rb"/[\w.-]+/[\w./-]+\.py\b", data)
    assert made.manifest.provenance.command.startswith(("python -m headway.learn.", "make models"))
    assert "/home" not in made.manifest.provenance.command


def test_a_head_names_each_of_its_tasks_once() -> None:
    with pytest.raises(ValueError, match="distinct names"):
        Pro(spec_hash="x", rate_hz=50.0, hidden=4, tasks=("pick", "place", "pick"))
