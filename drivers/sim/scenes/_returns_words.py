"""What people say in the scene `returns`: its commands with their paraphrases, and sentences that a
policy must not carry out."""

from __future__ import annotations

from headway.drivers.sim.phrases import Command, filled

# Nouns for the item of each colour, the one that Headway itself uses first.
NOUNS = {
    "grey": ("bag", "pouch"),
    "green": ("bag", "pouch"),
    "red": ("bracket", "part"),
    "purple": ("bracket", "part"),
    "orange": ("strap", "belt"),
    "white": ("strap", "belt"),
}
TOTES = ("blue", "yellow")
_SPELT = {"grey": ("grey", "gray")}  # how colours are spelt

_SCAN_TRAIN = (
    "scan the {item} please", "please scan the {item}", "scan the barcode of the {item}",
    "read the barcode of the {item}", "read the label on the {item}",
    "hold the {item} over the scanner", "show the {item} to the scanner",
    "present the {item} at the scanner", "take the {item} to the scanner",
    "let the scanner read the {item}", "get the barcode of the {item}",
    "the {item} is next, scan it",
)  # fmt: skip
_SCAN_HELD_OUT = (
    "bring the {item} to the scanner", "the scanner should read the {item}",
    "pick up the {item} and scan it", "could you scan the {item}",
)  # fmt: skip
_PUT_TRAIN = (
    "put the {item} in the {tote} tote", "place the {item} in the {tote} tote",
    "the {item} goes into the {tote} tote", "drop the {item} into the {tote} tote",
    "sort the {item} into the {tote} tote", "the {item} belongs in the {tote} tote",
    "into the {tote} tote with the {item}", "please put the {item} into the {tote} tote",
    "move the {item} to the {tote} tote", "the {tote} tote gets the {item}",
)  # fmt: skip
_PUT_HELD_OUT = (
    "the {tote} tote is for the {item}", "please place the {item} in the tote that is {tote}",
    "take the {item} and drop it into the {tote} tote", "lay the {item} into the {tote} tote",
)  # fmt: skip


def scan_text(colour: str) -> str:
    """How Headway asks that the item of this colour is scanned."""
    return f"scan the {colour} {NOUNS[colour][0]}"


def put_text(colour: str, tote: str) -> str:
    """How Headway asks that the item of this colour is put into the tote of that name."""
    return f"put the {colour} {NOUNS[colour][0]} into the {tote} tote"


def command_named(plain: str) -> Command:
    """The command that Headway itself words as `plain`. Raises KeyError."""
    return _BY_TEXT[plain]


def _commands() -> tuple[Command, ...]:
    made = []
    for colour, nouns in NOUNS.items():
        spelt = _SPELT.get(colour, (colour,))
        items = [f"{word} {noun}" for word in spelt for noun in (*nouns, "item")]
        scan = scan_text(colour)
        train = filled((*_SCAN_TRAIN, "scan the {item}"), item=items)
        made.append(_command(scan, train, filled(_SCAN_HELD_OUT, item=items[:2])))
        for tote in TOTES:
            put = put_text(colour, tote)
            train = filled(
                (*_PUT_TRAIN, "put the {item} into the {tote} tote"), item=items, tote=[tote]
            )
            made.append(_command(put, train, filled(_PUT_HELD_OUT, item=items[:2], tote=[tote])))
    return tuple(made)


def _command(plain: str, train: tuple[str, ...], held_out: tuple[str, ...]) -> Command:
    return Command(plain, tuple(t for t in train if t != plain), held_out)


COMMANDS = _commands()
_BY_TEXT = {command.plain: command for command in COMMANDS}
_ITEMS = tuple(f"{c} {nouns[0]}" for c, nouns in NOUNS.items())
# What a policy must not carry out: what is forbidden, what is not there, and what is no command.
NOT_COMMANDS_TRAIN = (
    *filled(
        (
            "do not scan the {item}", "don't scan the {item}", "never scan the {item}",
            "do not put the {item} into the {tote} tote", "don't put the {item} in the {tote} tote",
            "leave the {item} where it is", "do not touch the {item}", "stop scanning the {item}",
        ),
        item=_ITEMS, tote=TOTES,
    ),
    *filled(
        (
            "scan the {thing}", "put the {thing} into the {tote} tote",
            "show the {thing} to the scanner",
        ),
        thing=("pink hat", "brown shoe", "black phone", "glass bottle", "wooden spoon"), tote=TOTES,
    ),
    *filled(
        ("put the {item} into the {place}",),
        item=_ITEMS, place=("green tote", "drawer", "oven"),
    ),
    "what time is it", "sing a song", "drive to the station", "scan", "put it away", "hello robot",
)  # fmt: skip
NOT_COMMANDS_HELD_OUT = (
    *filled(
        (
            "please do not scan the {item}", "you must not put the {item} into the {tote} tote",
            "keep your hands off the {item}", "no scan for the {item}",
        ),
        item=_ITEMS, tote=TOTES,
    ),
    *filled(
        ("scan the {thing} please", "the {thing} goes into the {tote} tote"),
        thing=("silver key", "pink teddy", "tin can"), tote=TOTES,
    ),
    *filled(("place the {item} in the {place}",), item=_ITEMS, place=("red tote", "bath tub")),
    "tell me a joke", "open the window", "the weather is nice",
)  # fmt: skip
