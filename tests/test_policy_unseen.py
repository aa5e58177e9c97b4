"""The sentences that somebody wrote who had not seen those of the scenes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from headway.drivers.sim.phrases import meant
from headway.learn.policy.corpus import corpus_of, plain_words
from headway.learn.policy.language import judged_by, said

CORPUS = corpus_of(("pick_place", "shoebox", "returns"))


@pytest.mark.parametrize("scene", CORPUS.scenes, ids=lambda scene: scene.name)
def test_every_command_of_a_scene_is_said_in_ways_that_the_scene_does_not_have(scene):
    unseen = said(scene)["unseen"]
    assert {command for _, command in unseen.commands} == set(scene.commands)
    texts = [*(text for text, _ in unseen.commands), *unseen.nothing]
    assert len(set(texts)) == len(texts)
    assert not [text for text, _ in unseen.commands if text in scene.refused]
    known = [text for text in texts if meant(text, scene.commands) is not None]
    # Two people may well say the same short sentence.
    assert len(known) <= 0.1 * len(texts), known


@pytest.mark.parametrize("scene", CORPUS.scenes, ids=lambda scene: scene.name)
def test_what_was_learned_word_by_word_is_no_test(scene):
    learned = [*CORPUS.refused, *(t for c in CORPUS.commands for t in c.texts("train"))]
    learned += [frame for frame in CORPUS.frames.texts() if "{" not in frame]
    learned = {" ".join(plain_words(text)) for text in learned}
    before, after = said(scene), judged_by(scene, CORPUS)
    assert after["train"] == before["train"]
    for split in ("held_out", "unseen"):
        for kind in ("commands", "nothing"):
            had, kept = getattr(before[split], kind), getattr(after[split], kind)
            out = [x for x in had if x not in kept]
            texts = [text for text, _ in out] if kind == "commands" else out
            assert all(" ".join(plain_words(t)) in learned for t in texts)
            texts = [text for text, _ in kept] if kind == "commands" else kept
            assert not learned & {" ".join(plain_words(t)) for t in texts}
        assert len(after[split].nothing) < len(before[split].nothing)  # two people, one sentence
