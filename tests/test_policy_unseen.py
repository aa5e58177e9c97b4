"""The sentences that somebody wrote who had not seen those of the scenes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from headway.drivers.sim.phrases import meant
from headway.learn.policy.corpus import corpus_of
from headway.learn.policy.language import said

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
