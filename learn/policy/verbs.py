"""Verbs: their forms, which of them may stand for each other, and which mean the opposite."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

# Verbs of bringing a thing to a place, each of which may stand for another (B. Levin, English Verb
# Classes and Alternations, 1993, classes 9 and 11: verbs of putting, of sending and carrying).
PUTTING = (
    "put", "place", "set", "lay", "drop", "deposit", "stow", "stash", "load", "insert", "pop",
    "stick", "slip", "slot", "tuck", "position", "move", "transfer", "shift", "slide", "shove",
    "transport", "carry", "deliver", "bring", "take", "get", "send", "pack", "pass", "haul",
    "toss", "chuck", "dump", "plop", "bung", "sling", "throw",
)  # fmt: skip
# Further classes whose verbs may stand for each other, whatever follows the thing.
_CLASSES = (
    ("take", "grab", "fetch", "collect", "retrieve", "snatch", "grasp", "gather", "pick", "select"),
    ("open", "unlatch", "unlock", "unfasten", "unseal", "uncover"),
    ("close", "shut"),
    ("remove", "withdraw", "extract"),
    ("lift", "raise", "hoist", "heave", "elevate"),
    ("scan", "read", "capture", "register"),
    ("show", "present", "display", "exhibit"),
    ("press", "push", "hit", "tap", "click", "depress"),
    ("find", "locate", "spot", "seek"),
)
# Words of one side never stand for one of the other: vectors of words hold them for alike.
_OPPOSITES = (
    (("open", "unlatch", "unlock", "unfasten", "unseal", "uncover"),
     ("close", "shut", "lock", "latch", "seal", "cover", "fasten")),
    (("lift", "raise", "hoist", "elevate", "rise"), ("lower", "sink", "press", "fall")),
    (("put", "place", "insert", "load", "pack", "add", "deposit", "stow", "drop", "send", "bring",
      "deliver"),
     ("remove", "unload", "unpack", "withdraw", "extract", "empty", "leave", "keep", "receive")),
    (("take", "get", "grab", "fetch", "collect", "pick", "hold", "find"),
     ("give", "leave", "lose", "reject", "hide", "return")),
    (("show", "present", "display"), ("hide", "cover", "conceal", "remove")),
    (("pull",), ("push", "press")),
    (("read", "scan"), ("write", "print", "type")),
    (("press", "push"), ("pull",)),
    (("start", "go", "begin"), ("stop", "end", "halt")),
    (("want", "need"), ("refuse", "reject")),
    (("belong",), ("lack",)),
)  # fmt: skip
# The same of words that are no verbs.
_OPPOSITE_WORDS = (
    ({"up", "upwards", "above"}, {"down", "downwards", "below"}),
    ({"in", "into", "inside", "within"}, {"out", "outside", "off"}),
    ({"on", "onto", "over"}, {"off", "under"}),
    ({"to"}, {"from"}), ({"with"}, {"without"}), ({"for"}, {"against"}), ({"and"}, {"or", "nor"}),
    ({"next", "now", "then"}, {"never", "previous", "previously", "before", "already", "yet"}),
    ({"one", "it"}, {"none", "nothing", "neither"}),
)  # fmt: skip
_DENIALS = frozenset(
    ("no", "not", "never", "none", "nor", "neither", "nothing", "nobody", "cannot", "without",
     "don", "doesn", "didn", "isn", "aren", "wasn", "weren", "won", "wouldn", "couldn", "shouldn",
     "hasn", "hadn", "haven", "ain", "hardly", "barely")
)  # fmt: skip
# Past and participle of verbs that are not regular, as far as things are handled with them.
_IRREGULAR = {
    "put": ("put", "put"), "take": ("took", "taken"), "get": ("got", "got"), "let": ("let", "let"),
    "bring": ("brought", "brought"), "find": ("found", "found"), "hold": ("held", "held"),
    "show": ("showed", "shown"), "read": ("read", "read"), "set": ("set", "set"),
    "lay": ("laid", "laid"), "give": ("gave", "given"), "go": ("went", "gone"),
    "make": ("made", "made"), "have": ("had", "had"), "throw": ("threw", "thrown"),
    "send": ("sent", "sent"), "cut": ("cut", "cut"), "shut": ("shut", "shut"),
    "tear": ("tore", "torn"), "break": ("broke", "broken"), "leave": ("left", "left"),
    "keep": ("kept", "kept"), "hang": ("hung", "hung"), "lose": ("lost", "lost"),
    "hide": ("hid", "hidden"), "write": ("wrote", "written"),
    "wind": ("wound", "wound"), "unwind": ("unwound", "unwound"), "bend": ("bent", "bent"),
    "stick": ("stuck", "stuck"), "slide": ("slid", "slid"), "feed": ("fed", "fed"),
    "hit": ("hit", "hit"), "sling": ("slung", "slung"),
    "seek": ("sought", "sought"), "catch": ("caught", "caught"), "swing": ("swung", "swung"),
    "sweep": ("swept", "swept"), "do": ("did", "done"),
}  # fmt: skip


def gerund(verb: str) -> str:
    """`verb` with -ing."""
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return _doubled(verb) + "ing"


def past(verb: str) -> str:
    """The past tense of `verb`."""
    return _IRREGULAR[verb][0] if verb in _IRREGULAR else _with_ed(verb)


def participle(verb: str) -> str:
    """The past participle of `verb`."""
    return _IRREGULAR[verb][1] if verb in _IRREGULAR else _with_ed(verb)


def _with_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def _doubled(verb: str) -> str:
    """`verb` with its last letter twice where it is stressed: "drop", but not "open"."""
    vowels = [i for i, letter in enumerate(verb) if letter in "aeiou"]
    short = len(vowels) == 1 and vowels[0] == len(verb) - 2 and verb[-1] not in "wxy"
    return verb + verb[-1] if short or verb == "transfer" else verb


def alternatives(verb: str, *, placing: bool) -> tuple[str, ...]:
    """Other verbs that may stand for `verb`. `placing`: whether the sentence says where the thing
    goes."""
    classes = (*_CLASSES, PUTTING) if placing else _CLASSES
    return tuple(dict.fromkeys(v for c in classes if verb in c for v in c if v != verb))


def with_alternatives(verbs: Iterable[str], *, placing: bool) -> frozenset[str]:
    """`verbs`, and all that may stand for one of them."""
    given = frozenset(verbs)
    return given.union(*(alternatives(verb, placing=placing) for verb in given))


def opposites(verb: str) -> tuple[str, ...]:
    """Verbs that undo what `verb` does, or keep it from being done; () where none is known."""
    found = [
        other
        for one, two in _OPPOSITES
        for a, b in ((one, two), (two, one))
        if verb in a
        for other in b
    ]
    return tuple(dict.fromkeys(found))


def may_stand_for(other: str, word: str) -> bool:
    """Whether a sentence may still mean the same with `other` in the place of `word`: not if that
    is an opposite or a denial, nor another form of the same verb ("opened" is what was done)."""
    if other in _DENIALS:
        return False
    for one, two in _OPPOSITE_WORDS:
        if (word in one and other in two) or (word in two and other in one):
            return False
    base, other_base = _bases().get(word, word), _bases().get(other, other)
    if other_base in opposites(base):
        return False
    return other not in (past(word), participle(word), gerund(word))


@cache
def _bases() -> dict[str, str]:
    """The verb of which a word is a form, for the verbs of this module."""
    verbs = {v for c in (*_CLASSES, PUTTING) for v in c}
    verbs |= {v for pair in _OPPOSITES for side in pair for v in side}
    return {
        form: verb
        for verb in sorted(verbs)
        for form in (past(verb), participle(verb), gerund(verb), verb + "s", verb + "es", verb)
    }
