"""What people say in the scene pick_place: its commands, and what is none of them."""

from __future__ import annotations

from headway.drivers.sim.phrases import Command, filled

COLOURS = ("red", "green", "blue", "yellow")
_NOUNS = ("item", "object", "thing", "part")
_TRAIN = (
    "place the {c} {n} in the tote",
    "put the {c} {n} into the tote",
    "drop the {c} {n} in the tote",
    "move the {c} {n} to the tote",
    "pick up the {c} {n} and put it in the tote",
    "take the {c} {n} out of the bin and place it in the tote",
    "grab the {c} {n} and drop it into the tote",
    "pick the {c} {n}",
    "pack the {c} {n}",
    "the {c} {n} goes in the tote",
    "please put the {c} {n} in the tote",
    "i need the {c} {n} in the tote",
    "get the {c} {n} into the tote",
    "transfer the {c} {n} from the bin to the tote",
    "load the {c} {n} into the tote",
    "bring the {c} {n} over to the tote",
    "fetch the {c} {n} for the tote",
    "can you put the {c} one in the tote",
    "next is the {c} one",
    "the customer ordered the {c} {n}",
    "find the {c} {n} in the bin and put it in the tote",
    "tote: {c} {n}",
)
_HELD_OUT = (
    "into the tote with the {c} {n}",
    "from the bin, lift the {c} {n} over into the tote",
    "could you stow the {c} {n} in the tote",
    "make sure the {c} {n} ends up in the tote",
    "deposit the {c} {n} in the tote",
    "what belongs in the tote is the {c} {n}",
    "in the tote, please, the {c} one",
    "ship the {c} {n}",
    "it is the {c} {n} that we want in the tote now",
    "add the {c} {n} to the tote",
)


def _command(colour: str) -> Command:
    plain = f"put the {colour} item in the tote"
    train = filled(_TRAIN, c=(colour,), n=_NOUNS)
    return Command(plain, train, filled(_HELD_OUT, c=(colour,), n=_NOUNS[:2]))


COMMANDS = tuple(_command(colour) for colour in COLOURS)
# Of what no policy of this scene may carry out.
NOT_COMMANDS_TRAIN = filled(
    (
        "do not put the {c} item in the tote",
        "do not pick the {c} object",
        "don't put the {c} thing in the tote",
        "don't touch the {c} item",
        "never pack the {c} part",
        "leave the {c} item in the bin",
        "leave the {c} one alone",
        "put the {x} in the tote",
        "pick up the {x} and put it in the tote",
        "pack the {x}",
        "where is the {c} item",
        "what is in the bin",
        "how many items are in the tote",
        "stop",
        "wait",
        "go home",
        "hello robot",
        "wipe the table",
        "open the door",
        "pour the water",
        "count the items",
        "is the {c} item heavy",
    ),
    c=COLOURS,
    x=("purple item", "orange object", "pink thing", "brown part", "red hat", "green bottle",
       "blue shoe", "yellow banana", "keys", "cup", "screwdriver", "dog"),
)  # fmt: skip
NOT_COMMANDS_HELD_OUT = filled(
    (
        "do not move the {c} item to the tote",
        "don't load the {c} object into the tote",
        "the {c} item must not go in the tote",
        "keep the {c} part in the bin",
        "put anything but the {c} item in the tote",
        "put the {x} into the tote",
        "take the {x} out of the bin and place it in the tote",
        "who packed the {c} thing",
        "sing a song",
        "turn off the light",
        "wash the tote",
        "tell me about the {c} item",
    ),
    c=COLOURS,
    x=("purple hat", "white item", "turquoise object", "green fork", "red ball", "book", "lamp"),
)
