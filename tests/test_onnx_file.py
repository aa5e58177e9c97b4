"""Models that lie about their sizes, files or order are refused before an engine reads them."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from null_robot import make_policy
from onnx_rig import I64, F, h, model, onnx, refused, written
from test_bundle import edit
from test_onnx_graph import nested

from headway import bundle
from headway.bundle import onnx_file, onnx_graph
from headway.bundle.onnx_file import check
from headway.edge.engines.engine import open_bundle, open_engine
from headway.errors import BundleError

Change = Callable[[Any], object]


def outside(
    folder: Path, location: str, change: Change = lambda entries: None, size: int = 16
) -> Any:
    """The model with `w` in the external file `location`."""
    made = model()
    w = made.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": location, "offset": "0", "length": str(size)}
    change(entries)
    for key, value in entries.items():
        if value is not None:
            w.external_data.add(key=key, value=value)
    (folder / "w.bin").write_bytes(np.ones(8, np.float32).tobytes())
    return made


def test_what_an_exporter_makes_is_accepted_and_runs(tmp_path: Path) -> None:
    found = check(written(tmp_path, model()))
    assert (found.nodes, found.external) == (1, ())
    path = written(tmp_path, outside(tmp_path, "w.bin"))
    assert check(path).external == ("w.bin",)
    engine = open_engine("ort", path)
    engine.run()
    assert engine.bind("y").tolist() == [[1.0] * 4]
    engine.close()


def test_the_models_that_the_package_onnx_brings_are_accepted() -> None:
    """Networks, functions, control flow and sequences, made by others."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    files = sorted(folder.rglob("*.onnx"))
    assert len(files) > 50
    for file in files:
        check(file)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../w.bin", "wanted a file in the model's folder"),
        ("a/../../w.bin", "wanted a file in the model's folder"),
        ("/etc/passwd", "wanted a file in the model's folder"),
        ("", "wanted a file in the model's folder"),
        (".", "wanted a file in the model's folder"),
        ("..\\w.bin", "wanted a file in the model's folder"),
        ("C:w.bin", "wanted a file in the model's folder"),
        ("w.bin\0", "wanted a file in the model's folder"),
        ("nothing.bin", "there is no such file"),
        ("w.bin/x", "there is no such file"),
        ("x" * 300, "there is no such file"),
        ("link.bin", "goes through a symbolic link"),
        ("up/w.bin", "goes through a symbolic link"),
        ("pipe", "which is no plain file"),
        ("folder", "which is no plain file"),
    ],
)
def test_external_data_stay_in_the_folder(tmp_path: Path, location: str, message: str) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    made = outside(folder, location)
    (tmp_path / "w.bin").write_bytes((folder / "w.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    refused(folder, made, message)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "17"}, "wants the bytes 17 to 33 of w.bin, which has 32"),
        ({"offset": "9223372036854775807"}, "wants the bytes 9223372036854775807 to"),
        ({"offset": "-1"}, "with the offset '-1'"),
        ({"offset": "0x10"}, "with the offset '0x10'"),
        ({"offset": "1" * 30}, "with the offset"),
        ({"length": "32"}, "wants 16 bytes by its shape, and has 32 outside"),
        ({"length": "0"}, "wants 16 bytes by its shape, and has 0 outside"),
        ({"length": "1e1"}, "with the length '1e1'"),
        ({"location": None}, "wanted a file in the model's folder"),
    ],
)
def test_external_data_are_there(
    tmp_path: Path, entries: dict[str, str | None], message: str
) -> None:
    refused(tmp_path, outside(tmp_path, "w.bin", lambda e: e.update(entries)), message)


def test_a_tensor_has_its_bytes_in_one_place_said_once(tmp_path: Path) -> None:
    made = outside(tmp_path, "w.bin")
    made.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    refused(tmp_path, made, "says twice what its 'location' is")
    made = outside(tmp_path, "w.bin")
    made.graph.initializer[0].raw_data = b"0" * 16
    refused(tmp_path, made, "has data of its own and external data")
    made = outside(tmp_path, "w.bin")
    made.graph.initializer[0].ClearField("data_location")
    refused(tmp_path, made, "says two things of where its data are")


def test_tensors_share_all_of_their_bytes_or_none(tmp_path: Path) -> None:
    made = outside(tmp_path, "w.bin")
    other = made.graph.initializer.add()
    other.CopyFrom(made.graph.initializer[0])
    other.name = "v"
    check(written(tmp_path, made))
    other.external_data[1].value = "8"
    refused(tmp_path, made, "8 to 24 of w.bin, which overlap those of another, 0 to 16")
    other.external_data[0].value = ".//w.bin"  # the same file
    refused(tmp_path, made, "8 to 24 of w.bin, which overlap those of another, 0 to 16")
    other.external_data[1].value = "16"
    check(written(tmp_path, made))
    for k in range(20):  # 20 tensors of a file with room for two of them
        made.graph.initializer.add().CopyFrom(other)
        made.graph.initializer[-1].name = f"v{k}"
    refused(tmp_path, made, "more than 8 tensors share each byte")


def tensor(**fields: Any) -> Change:
    def change(made: Any) -> None:
        w = made.graph.initializer[0]
        for name, value in fields.items():
            w.ClearField(name)
            if value is None:
                continue
            if isinstance(value, list):
                getattr(w, name).extend(value)
            else:
                setattr(w, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tensor(dims=[1 << 40, 1 << 40]), "has the absurd shape"),
        (tensor(dims=[1 << 62]), "has the absurd shape"),
        (tensor(dims=[1 << 62, 0]), "has the absurd shape"),
        (tensor(dims=[-1, 4]), "has the shape [-1, 4]"),
        (tensor(dims=[2] * 65), "65 axes"),
        (tensor(dims=[1, 1 << 33]), "takes 34359738368 bytes"),
        (tensor(dims=[1, 5]), "wants 20 bytes, found 16"),
        (tensor(dims=[1, 3]), "wants 12 bytes, found 16"),
        (tensor(dims=[1, 1 << 30]), "wants 4294967296 bytes, found 16"),
        (tensor(data_type=99), "has the data type 99"),
        (tensor(data_type=8), "wants 4 texts, found 0"),
        (tensor(raw_data=None), "wants 4 numbers, found 0"),
        (tensor(raw_data=None, float_data=[1.0] * 5), "wants 4 numbers, found 5"),
        (tensor(raw_data=None, data_type=7, int64_data=[1] * 3), "wants 4 numbers, found 3"),
        (tensor(float_data=[1.0] * 4), "wants 16 bytes, found 16"),
        (lambda m: m.graph.initializer[0].segment.SetInParent(), "a tensor in segments"),
        (lambda m: m.graph.initializer.add().CopyFrom(m.graph.initializer[0]), "two constants 'w'"),
    ],
)
def test_a_tensor_is_as_large_as_its_shape(tmp_path: Path, change: Change, message: str) -> None:
    made = model()
    change(made)
    refused(tmp_path, made, message)


@pytest.mark.parametrize(
    ("data_type", "fields", "elements"),
    [
        (F, {"float_data": [1.0, 2.0, 3.0]}, 3),
        (11, {"double_data": [1.0, 2.0]}, 2),
        (I64, {"int64_data": [-1, 1 << 40]}, 2),
        (13, {"uint64_data": [1 << 63]}, 1),
        (3, {"int32_data": [-1, 2, -3]}, 3),
        (10, {"int32_data": [15360, 0]}, 2),
        (14, {"float_data": [1.0, 2.0]}, 1),
        (22, {"int32_data": [17, 1]}, 3),  # two of four bits in each
        (22, {"raw_data": b"\x11\x01"}, 3),
        (8, {"string_data": [b"a", b""]}, 2),
        (F, {}, 0),
    ],
)
def test_numbers_are_counted_wherever_they_lie(
    tmp_path: Path, data_type: int, fields: dict[str, Any], elements: int
) -> None:
    made = model()
    more = made.graph.initializer.add(name="more", data_type=data_type, dims=[elements])
    for name, value in fields.items():
        if isinstance(value, bytes):
            setattr(more, name, value)
        else:
            getattr(more, name).extend(value)
    check(written(tmp_path, made))
    more.dims[0] = elements + 2
    with pytest.raises(BundleError, match="tensor 'more' of"):
        check(written(tmp_path, made))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\x3a", "it ends in the middle of a number"),
        (b"\x3a\x05ab", "it ends early: 5 bytes are announced, 2 follow"),
        (b"\x3a" + b"\xff" * 9 + b"\x01", "it ends early"),
        (b"\x3a" + b"\xff" * 11, "a number of more than 64 bits"),
        (b"\x3b\x3c", "a field of the kind 3"),
        (b"\x02\x00", "a field without a number"),
        (b"\x38\x01", "it has a number where bytes belong"),
        (b"\x3d\x01", "it ends in the middle of a number"),
        (b"\x3a\x00\x3a\x00", "it has two graphs"),
        (b"\x0a\x00", "it has no graph"),
        (b"\x3a\x06\x0a\x04\x0a\x02\xff\xfe", "a name that is not UTF-8"),
        (b"this is a text", "is no model that can be opened"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "is no model that can be opened"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    refused(tmp_path, data, message)


def test_neither_is_what_is_too_large_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as f:
        f.truncate((1 << 31) + 5)  # takes no room
    with pytest.raises(
        BundleError, match="2147483647 at most can be read: export it with external"
    ):
        check(path)
    with pytest.raises(BundleError, match="cannot read the model"):
        check(tmp_path / "nothing.onnx")
    with pytest.raises(BundleError, match="cannot read the model"):
        check(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")  # which nobody writes to
    with pytest.raises(BundleError, match="it is no plain file"):
        check(tmp_path / "pipe.onnx")


def test_damage_of_any_kind_ends_in_a_message(tmp_path: Path) -> None:
    """Beginnings of a model, and hundreds of changes of it: refused, or read as it is."""
    whole = outside(tmp_path, "w.bin")
    whole.graph.node.insert(0, h.make_node("Cast", ["x"], ["c"], to=9))
    whole.graph.node.append(nested(2))
    whole.graph.node[-1].output[0] = "other"
    data = whole.SerializeToString()
    path = written(tmp_path, data)
    check(path)
    said = 0
    draw = random.Random(1)
    made = [data[:n] for n in range(1, len(data), 9)]
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 8))):
            changed[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A))
        made.append(bytes(changed))
    for each in made:
        path.write_bytes(each)
        try:
            check(path)
        except BundleError:
            said += 1
    assert said > len(made) // 2


@pytest.mark.parametrize(
    "one",
    [b"\x0a\x00", b"\x0a\x05\x12\x01y\x22\x00", b"\x2a\x00", b"\x5a\x00", b"\x7a\x00", b"\x52\x00"],
)
def test_a_flood_of_small_messages_takes_little_memory(
    tmp_path: Path, one: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's parser would make an object of each."""
    monkeypatch.setattr(onnx_file, "MOST_FIELDS", 10_000)
    monkeypatch.setattr(onnx_graph, "MOST_NODES", 2_000)
    body = one * (500_000 // len(one))
    size = len(body)
    head = bytearray(b"\x3a")
    while size > 0x7F:
        head.append(0x80 | size & 0x7F)
        size >>= 7
    path = written(tmp_path, bytes(head) + bytes([size]) + body)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="is no model that can be opened"):
            check(path)
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_weights_that_the_manifest_does_not_name_are_refused(tmp_path: Path) -> None:
    made = bundle.load(make_policy(tmp_path / "p"))
    graph = onnx.load(made.onnx)
    names = [t.name for t in graph.graph.initializer]
    w = graph.graph.initializer[names.index("constant")]
    (made.path / "w.bin").write_bytes(w.raw_data)
    w.external_data.add(key="location", value="w.bin")
    w.ClearField("raw_data")
    w.data_location = onnx.TensorProto.EXTERNAL
    files = {"p.onnx": graph.SerializeToString(), "w.bin": made.path / "w.bin"}
    whole = bundle.save(tmp_path / "whole", made.manifest, files)
    open_bundle(whole).close()
    edit(whole.path, lambda table: table["files"].pop("w.bin"))
    with pytest.raises(BundleError, match=r"the weights of p\.onnx lie in w\.bin, which is not"):
        open_bundle(bundle.load(whole.path))


def test_a_bundles_model_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundle.load(make_policy(tmp_path / "p"))
    looked: list[Path] = []
    monkeypatch.setattr(onnx_file, "check", lambda path: looked.append(path) or check(path))
    open_bundle(made, "ort").close()
    assert looked == [made.onnx]
    open_engine("ort", made.onnx).close()
    assert looked == [made.onnx] * 2
    open_bundle(made, "null").close()  # which reads no model
    assert len(looked) == 2
