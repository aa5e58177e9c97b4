"""The text encoder of the policy: words, sentences and their variations, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")
pytest.importorskip("tokenizers", reason="the text encoder needs the package tokenizers")

from headway.drivers.sim.phrases import Command, filled  # noqa: E402
from headway.errors import ConfigError  # noqa: E402
from headway.learn.policy import words  # noqa: E402
from headway.learn.policy.corpus import Corpus, Spoken, Telling, corpus_of, plain_words  # noqa: E402
from headway.learn.policy.frames import FRAMES  # noqa: E402
from headway.learn.policy.left_out import Split  # noqa: E402
from headway.learn.policy.sayer import Sayer  # noqa: E402
from headway.learn.policy.speech import Deed, Speech, Thing, deed_of  # noqa: E402
from headway.learn.policy.text import LENGTH, tokenizer, tokens  # noqa: E402
from headway.learn.policy.text import words as split  # noqa: E402
from headway.learn.policy.text_training import embeddings, once, train_text  # noqa: E402
from headway.learn.policy.verbs import (  # noqa: E402
    alternatives,
    gerund,
    may_stand_for,
    opposites,
    participle,
    past,
)

COLOURS = ("red", "blue")
TRAIN = ("put the {c} {n} in the tote", "move the {c} {n} to the tote", "pick the {c} {n}")
HELD_OUT = ("place the {c} item in the tote", "push the {c} item into the tote")
NOT = filled(("do not put the {c} item in the tote", "leave the {c} item alone"), c=COLOURS)


def spoken() -> Spoken:
    commands = tuple(
        Command(
            f"put the {c} item in the tote",
            filled(TRAIN, c=[c], n=["item", "part"])[1:],
            filled(HELD_OUT, c=[c]),
        )
        for c in COLOURS
    )
    return Spoken("toy", commands, (*NOT, "sing a song"), ("never move the red item",))


CORPUS = Corpus((spoken(),))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_words_are_split_without_case_accents_and_punctuation() -> None:
    by = tokenizer(["put the red item"])
    assert split(by, "Don't put THE r\u00e9d item, please!") == [
        "do", "not", "put", "the", "red", "item", "please",
    ]  # fmt: skip
    ids, mask = tokens(by, ["put the xqzzy item", "red"])
    assert ids.shape == (2, LENGTH)
    assert ids[0, 2] == by.token_to_id("[UNK]")
    assert mask.sum(dim=1).tolist() == [4, 1]


def test_like_words_have_like_vectors() -> None:
    def alike(a: str, b: str) -> float:
        x, y = words.vectors_of([a, b]).astype(float)
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    assert alike("shove", "push") > alike("shove", "red") + 0.2
    assert alike("purple", "pink") > alike("purple", "push") + 0.2
    # put together from the words in it, and else the same every time
    assert alike("shoebox", "box") > 0.5
    assert (words.vectors_of(["xqzzy"]) == words.vectors_of(["xqzzy"])).all()


def test_the_words_that_tell_commands_apart_are_found() -> None:
    assert CORPUS.telling == {"red", "blue"}


def test_a_varied_command_keeps_the_words_that_tell_it() -> None:
    sayer = Sayer(CORPUS, np.random.default_rng(0))
    texts = [sayer.command(1) for _ in range(300)]
    assert all("blue" in plain_words(text) and "red" not in plain_words(text) for text in texts)
    assert len(set(texts)) > 100


def test_what_is_to_be_refused_is_never_a_command() -> None:
    sayer = Sayer(CORPUS, np.random.default_rng(0))
    texts = [sayer.refused() for _ in range(500)]
    assert [t for t in texts if CORPUS.index(t) is not None] == []
    assert any("not" in t.split() or "never" in t.split() for t in texts)
    assert all(t.strip() for t in texts)


def test_every_frame_can_be_filled_and_no_filled_one_is_left_open() -> None:
    sayer = Sayer(CORPUS, np.random.default_rng(0))
    for family in (FRAMES.asked, *FRAMES.refused):
        for frame in family.frames:
            text = sayer.framed(replace(family, frames=(frame,)))
            assert text, frame
            assert "{" not in text, frame


def test_a_frame_is_filled_with_what_its_command_is_about() -> None:
    texts = [[plain_words(t) for t in c.texts("train")] for c in CORPUS.commands]
    speech = Speech(texts, CORPUS.telling, {"item", "part"})
    rng = np.random.default_rng(0)
    for frame in (
        "did you {do}",
        "{it} was {verbed} {after}",
        "{cmd} but not now",
        "where is {it}",
    ):
        said = [speech.fill(frame, 1, rng) or "" for _ in range(50)]
        assert all("blue" in t.split() and "red" not in t.split() for t in said)
    both = (speech.fill("{it} or {other_it}", 1, rng) or "").split()
    assert {"red", "blue"} <= set(both)
    assert speech.fill("{nonsense}", 1, rng) is None


def test_deeds_are_told_from_other_sentences() -> None:
    def found(text: str) -> Deed | None:
        return deed_of(plain_words(text), {"red", "blue"}, {"item", "box"})

    lift = found("lift the lid of the red box")
    assert lift == Deed("lift", "", "the lid of", Thing("red", "box"), "")
    pick = found("pick up the red item for the blue box")
    assert pick == Deed("pick", "up", "", Thing("red", "item"), "for the blue box")
    assert pick.said(past("pick"), "the red one") == "picked up the red one for the blue box"
    for text in ("the red item goes in the box", "next is the red item", "put it in the box"):
        assert found(text) is None


def test_words_stand_for_others_but_not_for_their_opposites() -> None:
    assert {"place", "drop", "toss"} <= set(alternatives("put", placing=True))
    assert alternatives("put", placing=False) == ()  # "toss the lid of the red box" is another deed
    assert "raise" in alternatives("lift", placing=False)
    assert {"close", "shut"} <= set(opposites("open"))
    assert "open" in opposites("close")
    for word, other in (
        ("open", "closes"), ("raise", "lowered"), ("unlock", "locking"), ("can", "cannot"),
        ("should", "shouldn"), ("up", "down"), ("open", "opened"), ("now", "never"),
    ):  # fmt: skip
        assert not may_stand_for(other, word), (word, other)
    assert may_stand_for("unlatch", "open")
    assert may_stand_for("carton", "box")


def test_what_is_held_out_is_never_learned_from() -> None:
    red = Command("put the red item in the tote", (), ("put the red object in the tote",))
    blue = Command("put the blue item in the tote", (), ("Put the blue object in the tote!",))
    corpus = Corpus((Spoken("toy", (red, blue), (), ("do not put the red item in the tote",)),))
    sayer = Sayer(corpus, np.random.default_rng(0))
    drawn = {" ".join(plain_words(sayer.command(i % 2))) for i in range(2000)}
    drawn |= {" ".join(plain_words(sayer.refused())) for _ in range(3000)}
    # What they are like is drawn: an item may be called a thing, and a negation may come first.
    assert drawn & set(filled(("put the {c} {n} in the tote",), c=COLOURS, n=("thing", "piece")))
    assert any(t.startswith("do not put the blue item in") for t in drawn)
    assert not [t for t in drawn if not corpus.to_learn_from(t)]
    assert not corpus.to_learn_from("put the blue object in the tote")


def test_spellings_of_a_telling_word_are_one() -> None:
    grey = Command("take the grey bag", ("take the gray bag", "take the gray one"))
    red = Command("take the red bag", ("the red one please",))
    found = Corpus((Spoken("bags", (grey, red), ()),)).told_by
    assert found.words == (("gray", "grey"), ("red",))
    assert found.wanted == ({0}, {1})
    assert found.unwanted == ({1}, {0})
    # What a sentence of the command does without is not wanted.
    shut = Command("close the red door", ("shut the red door", "make the red door tight"))
    lift = Command("open the red door", ())
    found = Corpus((Spoken("door", (shut, lift), ()),)).told_by
    assert found.words == (("close", "shut"), ("open",))
    assert found.wanted == (frozenset(), {1})
    assert found.unwanted == ({1}, frozenset())


def test_a_sentence_without_what_tells_its_command_is_refused() -> None:
    net, by = train_text(CORPUS, steps=2, batch=4)
    assert net.wanted.shape == (2, 2)
    texts = ["put the red item in the tote", "put the item", "the blue and the red item", "blue"]
    ids, mask = tokens(by, texts)
    red, blue = (torch.full((4,), i) for i in (0, 1))
    assert net.contradicts(ids, mask, red).tolist() == [False, True, True, True]
    assert net.contradicts(ids, mask, blue).tolist() == [True, True, True, False]
    _, refused = net(ids, mask)
    assert (refused[1:3] == 1.0).all()


def test_a_telling_word_that_the_tokenizer_does_not_know_as_one_is_an_error() -> None:
    accent = Corpus(
        (Spoken("boxes", (Command("open the r\u00f6te box"), Command("open the b box")), ()),)
    )
    net, by = train_text(accent, steps=1, batch=2)
    ids, mask = tokens(by, ["open the r\u00f6te box", "open the b box"])
    assert net.contradicts(ids, mask, torch.tensor([0, 1])).tolist() == [False, False]
    assert net.contradicts(ids, mask, torch.tensor([1, 0])).tolist() == [True, True]
    with pytest.raises(ConfigError, match="knows as one"):
        net.tell(by, Telling((("never-met",),), (frozenset(),), (frozenset(),)))


def test_no_command_that_is_drawn_is_refused_by_a_rule() -> None:
    sides = Spoken("sides", (Command("open the left box"), Command("open the right box")), ())
    switch = Spoken("lamp", (Command("switch on the lamp"), Command("switch off the lamp")), ())
    corpus = Corpus((sides, switch, spoken()))
    told = corpus.told_by
    number = {word: k for k, spelt in enumerate(told.words) for word in spelt}
    sayer = Sayer(corpus, np.random.default_rng(0))
    for i in range(len(corpus.commands)):
        for _ in range(300):
            said = plain_words(sayer.command(i))
            here = {number[w] for w in said if w in number}
            assert told.wanted[i] <= here, said
            assert not told.unwanted[i] & here, said


def test_a_deed_that_a_scene_asks_for_is_not_refused_in_it() -> None:
    doors = tuple(Command(f"close the {c} door", (f"close that {c} door",)) for c in COLOURS)
    sayer = Sayer(Corpus((Spoken("doors", doors, ()),)), np.random.default_rng(0))
    texts = [sayer.refused() for _ in range(3000)]
    asked = {f"{verb} the {c} door" for verb in ("close", "shut") for c in COLOURS}
    assert not asked & set(texts)
    assert any(t.startswith("open the") for t in texts)


def test_the_opposite_of_a_command_is_refused() -> None:
    scene = Spoken("box", (Command("open the red box"), Command("open the blue box")), ())
    sayer = Sayer(Corpus((scene,)), np.random.default_rng(0))
    texts = [sayer.refused() for _ in range(3000)]
    assert any(t.startswith(("close the", "shut the")) for t in texts)
    commands = [sayer.command(0) for _ in range(500)]
    assert not [t for t in commands if set(t.split()) & {"close", "closes", "shut", "closing"}]


def test_verbs_have_their_forms() -> None:
    verbs = ("put", "take", "open", "drop", "scan", "place", "carry", "load", "show")
    assert [gerund(v) for v in verbs] == [
        "putting", "taking", "opening", "dropping", "scanning", "placing", "carrying", "loading",
        "showing",
    ]  # fmt: skip
    assert [participle(v) for v in verbs] == [
        "put", "taken", "opened", "dropped", "scanned", "placed", "carried", "loaded", "shown",
    ]  # fmt: skip
    assert past("take") == "took"


def test_what_is_left_out_is_learned_from_nowhere() -> None:
    split = Split(CORPUS, 0, 3, "questions")
    kept = {text for c in split.kept.commands for text in c.train} | set(split.kept.refused)
    out = {text for texts in split.refused.values() for text in texts}
    assert split.commands
    assert not kept & (out | {text for text, _ in split.commands})
    assert "questions" not in {f.name for f in split.kept.frames.refused}
    for before, after in zip(FRAMES.refused[1:], split.kept.frames.refused, strict=True):
        assert 0 < len(after.frames) < len(before.frames)
    assert set(split.refused) == {"scenes", *(f.name for f in FRAMES.refused)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((0, 3, "question"), "did you mean `questions`"), ((3, 3), "--fold 3"), ((0, 1), "--folds 1")],
)
def test_a_part_that_there_is_not_is_not_left_out(arguments: tuple[int, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Split(CORPUS, *arguments)


def test_what_comes_after_the_encoder_is_drawn_alike_whether_it_was_there(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        once(tmp_path / "text.pt", "toy", lambda: train_text(CORPUS, steps=2, batch=4))
        drawn.append(torch.rand(4))
    torch.testing.assert_close(*drawn)


def test_sentences_belong_to_their_command_in_any_case() -> None:
    assert CORPUS.index("Pick the BLUE part.") == 1
    assert CORPUS.index("push the red item into the tote") == 0  # held out, yet written down
    assert CORPUS.index("push the red item") is None


def test_a_scene_without_sentences_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.drivers.sim.scenes import pick_place

    monkeypatch.delattr(pick_place, "NOT_COMMANDS_TRAIN", raising=False)
    with pytest.raises(ConfigError, match="pick_place has no sentences"):
        corpus_of(["pick_place"])


def test_an_encoder_learns_to_understand_and_to_refuse() -> None:
    net, by = train_text(CORPUS, steps=160, batch=24, lr=4e-3)
    with torch.no_grad():
        for i, command in enumerate(CORPUS.commands):
            logits, _ = net.judge(*tokens(by, (*command.texts("train"), *command.held_out)))
            assert (logits.argmax(dim=1) == i).all()
        _, taken = net(*tokens(by, CORPUS.commands[0].texts("train")))
        _, refused = net(*tokens(by, CORPUS.refused))
    assert taken.max() < 0.5
    assert refused.min() > 0.5
    said = embeddings(net, by, CORPUS, draws=8)
    own = (said - said.mean(dim=1, keepdim=True)).norm(dim=2).mean()
    assert said.shape[0] == 2
    assert own < 0.3 * (said[0].mean(dim=0) - said[1].mean(dim=0)).norm()
