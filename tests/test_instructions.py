"""Text -> tensors: the index of a sentence, tokens, and what a text encoder answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from headway import config
from headway.edge.policy.instructions import open_encoder
from headway.errors import BundleError, ConfigError, Missing, SpecMismatch
from headway.instructions import EmbeddingSpec, InstructionSpec, TokensSpec, VocabularySpec

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "\n", "pick", "place", "the", "red", "cup")
IDS = {w: i for i, w in enumerate(WORDS)}
TABLE = np.arange(2.0 * len(WORDS), dtype=np.float32).reshape(-1, 2)  # a vector per word


@pytest.fixture
def folder(tmp_path):
    tokenizers(tmp_path)
    return tmp_path


def tokenizers(folder: Path) -> None:
    """Write tokenizers that split at blanks: one adds [CLS] and [SEP], another pads, too."""
    made = Tokenizer(models.WordLevel(IDS, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    made.save(str(folder / "plain.json"))
    ends = [("[CLS]", IDS["[CLS]"]), ("[SEP]", IDS["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    made.save(str(folder / "ends.json"))
    made.enable_padding(length=40, pad_id=IDS["[UNK]"])
    made.enable_truncation(3)
    made.save(str(folder / "pads.json"))


def tokens(**changes: Any) -> TokensSpec:
    return TokensSpec(**{"tokenizer": "ends.json", "length": 6, "pad_id": 0, **changes})


def ids(folder: Path, text: str, **changes: Any) -> list[int]:
    return open_encoder(tokens(**changes), folder, "p").encode(text)["tokens"][0].tolist()


def of(*words: str) -> list[int]:
    return [IDS[w] for w in words]


def encoder(
    path: Path, *, masked: bool = False, ints: bool = False, index: bool = False, n: Any = "n"
) -> None:
    """A graph that looks up a vector per token: `each` (1, n, 2), and `sum` (1, 2) over them."""
    shape = [1] if index else [1, n]
    inputs = [helper.make_tensor_value_info("tokens", TensorProto.INT64, shape)]
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["looked"])]
    if index:
        nodes.append(helper.make_node("Identity", ["looked"], ["sum"]))
    else:
        nodes.append(helper.make_node("ReduceSum", ["looked", "axis"], ["sum"], keepdims=0))
    if masked:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, shape))
        nodes += [
            helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["m", "last"], ["mm"]),
            helper.make_node("Mul", ["looked", "mm"], ["each"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["looked"], ["each"]))
    kind = TensorProto.INT64 if ints else TensorProto.FLOAT
    constants = {
        "table": TABLE.astype(np.int64) if ints else TABLE,
        "axis": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    graph = helper.make_graph(
        nodes, "text", inputs,
        [helper.make_tensor_value_info(n, kind, None) for n in ("each", "sum")],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def embedding(**changes: Any) -> EmbeddingSpec:
    return EmbeddingSpec(**{"encoder": "text.onnx", "output": "each", "text": tokens(), **changes})


class TestVocabulary:
    SPEC = VocabularySpec(texts=("pick the cup", "place the cup"))

    def test_the_index_of_the_text(self, tmp_path):
        encoder = open_encoder(self.SPEC, tmp_path, "p")
        found = encoder.encode("place the cup")
        assert {n: (a.tolist(), a.dtype) for n, a in found.items()} == {
            "instruction": ([1], "int64")
        }
        assert encoder.texts == self.SPEC.texts
        encoder.close()

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("pick the cub", "did you mean 'pick the cup'?"),
            ("", "it knows 'pick the cup', 'place the cup'"),
        ],
    )
    def test_another_text_is_refused_with_the_nearest(self, tmp_path, text, hint):
        with pytest.raises(SpecMismatch) as e:
            open_encoder(self.SPEC, tmp_path, "clever").encode(text)
        assert f"policy clever was not taught {text!r}: {hint}" in str(e.value)


class TestTokens:
    @pytest.mark.parametrize(
        ("changes", "wanted"),
        [
            ({}, [1, 5, 7, 9, 2, 0]),
            ({"pad": "left"}, [0, 1, 5, 7, 9, 2]),
            ({"pad_id": 3}, [1, 5, 7, 9, 2, 3]),
            ({"special": False}, [5, 7, 9, 0, 0, 0]),
            ({"suffix": " \n"}, [1, 5, 7, 9, 4, 2]),
            ({"tokenizer": "plain.json"}, [5, 7, 9, 0, 0, 0]),
            ({"tokenizer": "pads.json", "pad_id": None}, [1, 5, 7, 9, 2, 3]),
            ({"length": 4, "truncate": True}, [1, 5, 7, 2]),
            ({"length": 2, "truncate": True, "special": False}, [5, 7]),
        ],
    )
    def test_the_ids_of_the_tokens(self, folder, changes, wanted):
        assert ids(folder, "Pick the CUP", **changes) == wanted

    def test_mask_and_types(self, folder):
        spec = tokens(mask_input="mask", types_input="types")
        found = open_encoder(spec, folder, "p").encode("pick cup")
        assert found["tokens"].tolist() == [[1, 5, 9, 2, 0, 0]]
        assert found["mask"].tolist() == [[1, 1, 1, 1, 0, 0]]
        assert found["types"].tolist() == [[0] * 6]
        left = tokens(mask_input="mask", pad="left")
        found = open_encoder(left, folder, "p").encode("pick cup")
        assert found["mask"].tolist() == [[0, 0, 1, 1, 1, 1]]

    @pytest.mark.parametrize("dtype", ["int64", "int32"])
    @pytest.mark.parametrize("mask", ["int64", "int32", "bool", "float32"])
    def test_they_are_of_the_type_that_is_wanted(self, folder, dtype, mask):
        spec = tokens(mask_input="mask", dtype=dtype, mask_dtype=mask)
        encoder = open_encoder(spec, folder, "p")
        found = encoder.encode("pick")
        assert {n: a.dtype for n, a in found.items()} == {"tokens": dtype, "mask": mask}
        assert found["mask"].sum() == 3
        shapes = {n: (t.shape, t.dtype) for n, t in encoder.tensors.items()}
        assert shapes == {"tokens": ((1, 6), dtype), "mask": ((1, 6), mask)}

    def test_the_same_text_is_encoded_once_and_nobody_can_write_into_it(self, folder):
        encoder = open_encoder(tokens(), folder, "p")
        first = encoder.encode("pick")["tokens"]
        assert encoder.encode("pick")["tokens"] is first
        assert encoder.encode("cup")["tokens"][0, 1] == IDS["cup"]
        assert encoder.encode("pick")["tokens"].tolist() == first.tolist()
        with pytest.raises(ValueError, match="read-only"):
            first[0, 0] = 1

    def test_a_text_that_is_too_long_is_refused(self, folder):
        spec = tokens(length=5)
        encoder = open_encoder(spec, folder, "clever")
        assert encoder.encode("pick the cup")["tokens"].tolist() == [
            of("[CLS]", "pick", "the", "cup", "[SEP]")
        ]
        with pytest.raises(
            SpecMismatch, match="policy clever takes 5 tokens, found 6 in 'pick the"
        ):
            encoder.encode("pick the red cup")
        assert encoder.encode("pick the cup")["tokens"][0, 0] == IDS["[CLS]"]

    def test_a_text_without_tokens_is_refused(self, folder):
        with pytest.raises(SpecMismatch, match="wants an instruction, found '', which has no tok"):
            ids(folder, "", special=False)

    def test_free_text_and_taught_texts(self, folder):
        assert open_encoder(tokens(), folder, "p").texts is None
        encoder = open_encoder(tokens(texts=("pick the cup",)), folder, "p")
        assert encoder.texts == ("pick the cup",)
        with pytest.raises(SpecMismatch, match="was not taught 'pick the cub': did you mean"):
            encoder.encode("pick the cub")
        with pytest.raises(SpecMismatch, match="takes 4 tokens, found 5"):
            open_encoder(tokens(texts=("pick the cup",), length=4), folder, "p")

    def test_a_tokenizer_that_does_not_fit_is_refused(self, folder):
        with pytest.raises(SpecMismatch, match="which id pads a text: wanted `pad_id`"):
            open_encoder(tokens(pad_id=None), folder, "p")
        with pytest.raises(SpecMismatch, match="adds 2 tokens to a text: wanted a length of more"):
            open_encoder(tokens(length=2, truncate=True), folder, "p")
        (folder / "odd.json").write_text("{}")
        for name in ("odd.json", "none.json"):
            with pytest.raises(BundleError, match=f"wanted a tokenizer .*{name}"):
                open_encoder(tokens(tokenizer=name), folder, "p")

    def test_without_the_package_it_says_how_to_get_it(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(Missing, match=r"pip install 'headway\[text\]'"):
            open_encoder(tokens(), folder, "p")


class TestEmbedding:
    def test_the_answer_as_it_is(self, folder):
        encoder(folder / "text.onnx")
        made = open_encoder(embedding(), folder, "p")
        assert {n: (t.shape, t.dtype) for n, t in made.tensors.items()} == {
            "instruction": ((1, 6, 2), "float32")
        }
        found = made.encode("pick cup")["instruction"]
        np.testing.assert_array_equal(found[0], TABLE[[1, 5, 9, 2, 0, 0]])
        assert made.encode("pick cup")["instruction"] is found
        other = made.encode("place cup")["instruction"]
        np.testing.assert_array_equal(other[0], TABLE[[1, 6, 9, 2, 0, 0]])
        np.testing.assert_array_equal(found[0], TABLE[[1, 5, 9, 2, 0, 0]])  # not overwritten

    def test_an_output_that_is_pooled_already(self, folder):
        encoder(folder / "text.onnx")
        found = open_encoder(embedding(output="sum", input="lang"), folder, "p").encode("pick")
        np.testing.assert_array_equal(found["lang"], [TABLE[[1, 5, 2, 0, 0, 0]].sum(0)])

    @pytest.mark.parametrize("pad", ["left", "right"])
    def test_the_mean_leaves_padding_out(self, folder, pad):
        encoder(folder / "text.onnx")
        spec = embedding(pool="mean", text=tokens(pad=pad, pad_id=3))
        made = open_encoder(spec, folder, "p")
        assert made.tensors["instruction"].shape == (1, 2)
        found = made.encode("pick cup")["instruction"]
        np.testing.assert_allclose(found, [TABLE[[1, 5, 9, 2]].mean(0)])

    def test_the_mask_goes_to_the_encoder_and_to_the_policy(self, folder):
        encoder(folder / "text.onnx", masked=True)
        text = tokens(mask_input="mask", pad_id=3)
        made = open_encoder(embedding(text=text, mask_input="lang_mask"), folder, "p")
        found = made.encode("pick")
        np.testing.assert_array_equal(found["instruction"][0, 3:], np.zeros((3, 2)))
        assert found["lang_mask"].tolist() == [[1, 1, 1, 0, 0, 0]]
        assert set(made.tensors) == set(found)

    def test_a_table_of_known_sentences(self, folder):
        encoder(folder / "text.onnx", index=True)
        text = VocabularySpec(texts=("pick", "place"), input="tokens")
        made = open_encoder(embedding(output="sum", text=text), folder, "p")
        np.testing.assert_array_equal(made.encode("place")["instruction"], TABLE[[1]])
        assert made.texts == ("pick", "place")
        with pytest.raises(SpecMismatch, match="was not taught 'plaice': did you mean 'place'"):
            made.encode("plaice")

    @pytest.mark.parametrize(
        ("graph", "changes", "says"),
        [
            ({}, {"output": "eech"}, "did you mean `each`"),
            ({}, {"output": "sum", "pool": "mean"}, r"as \(1, 6, e\), found \(1, 2\): name the"),
            ({"masked": True, "n": 6}, {}, "tensors that the bundle does not name: mask"),
            ({"n": 6}, {"text": tokens(input="ids")}, "wants a tensor `ids`, the model has tokens"),
            ({}, {"text": tokens(dtype="int32")}, r"`tokens` as int32 \(1, 6\), the model has"),
            ({"ints": True}, {}, "output `each` as floats, found int64"),
        ],
    )
    def test_an_encoder_that_does_not_fit_is_refused(self, folder, graph, changes, says):
        encoder(folder / "text.onnx", **graph)
        with pytest.raises(SpecMismatch, match=says):
            open_encoder(embedding(**changes), folder, "p")

    def test_one_that_is_not_there_or_closed_says_so(self, folder):
        with pytest.raises(BundleError, match=r"wanted an ONNX model at .*text\.onnx"):
            open_encoder(embedding(), folder, "p")
        encoder(folder / "text.onnx")
        made = open_encoder(embedding(), folder, "p")
        made.close()
        made.close()
        with pytest.raises(BundleError, match="is closed"):
            made.encode("pick")


class Holder(config.Struct, frozen=True):
    instruction: InstructionSpec | None = None


class TestSpecs:
    @pytest.mark.parametrize(
        "spec",
        [
            TestVocabulary.SPEC,
            tokens(texts=("a", "b")),
            embedding(),
            embedding(text=VocabularySpec(texts=("a",))),
        ],
    )
    def test_they_survive_the_way_through_plain_data(self, spec):
        import msgspec

        plain = msgspec.to_builtins(Holder(spec))
        assert plain["instruction"]["kind"] in ("vocabulary", "tokens", "embedding")
        assert config.decode(plain, Holder, "x") == Holder(spec)

    def test_which_files_they_need(self):
        assert TestVocabulary.SPEC.files == ()
        assert tokens().files == ("ends.json",)
        assert embedding().files == ("text.onnx", "ends.json")

    @pytest.mark.parametrize(
        ("plain", "says"),
        [
            ({"texts": ["a"]}, "`instruction.kind` wants a kind, found None: valid: "),
            ({"kind": "token"}, "found 'token': did you mean `tokens`?"),
            ({"kind": ["tokens"]}, "`instruction.kind` wants a kind, found ['tokens']"),
            ({"kind": "vocabulary", "texts": []}, "at least one text, found none"),
            ({"kind": "vocabulary", "texts": ["a", "a"]}, "distinct ones, found 'a' twice"),
            ({"kind": "vocabulary"}, "wanted the key `instruction.texts`"),
            ({"kind": "tokens", "tokenizer": "t", "lenght": 3}, "mean `instruction.length`"),
            ({"kind": "tokens", "tokenizer": "t", "length": 0}, "`instruction.length` wants a"),
            ({"kind": "tokens", "tokenizer": "", "length": 3}, "key `instruction.tokenizer`"),
            (
                {"kind": "tokens", "tokenizer": "t", "length": 3, "mask_input": "tokens"},
                "found 'tokens' twice",
            ),
            (
                {
                    "kind": "embedding", "encoder": "e", "output": "o", "pool": "mean",
                    "text": {"kind": "vocabulary", "texts": ["a"]},
                },
                "want a text of kind tokens",
            ),
            (
                {
                    "kind": "embedding", "encoder": "e", "output": "o",
                    "text": {"kind": "embedding"},
                },
                "`instruction.text.kind` wants a kind, found 'embedding'",
            ),
            (
                {
                    "kind": "embedding", "encoder": "e", "output": "o", "mask_input": "instruction",
                    "text": {"kind": "tokens", "tokenizer": "t", "length": 3},
                },
                "input and mask_input are both",
            ),
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused(self, plain, says):
        with pytest.raises(ConfigError) as e:
            config.decode({"instruction": plain}, Holder, "bundle.json")
        assert says in str(e.value)
