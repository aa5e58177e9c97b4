"""Whether another bundle of a policy does its work as well: the same orders with each, in pairs.

    python -m headway.learn.paired fp32=models/workflows int8=runs/precisions/int8 \\
        --workflow pick_place --orders 300 --out runs/paired.jsonl

The first bundle is the one that the others are held to. Every order that has ended is a line of
--out, and one that is there is not run again: the same command goes on after an interruption. The
bundles take turns every few orders, so that what has been run is pairs at any time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import tyro

from headway.bundle import load
from headway.edge.control.result import success_of
from headway.errors import ConfigError
from headway.learn import evaluate
from headway.learn.files import named_folders
from headway.tools.statistics import Z, wilson

BEGIN = b'{"name":"'  # of each line of the file
TURN = 25  # orders of one bundle before it is the next one's turn: a process is started for each


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the file: the order of a `workflow` with this `seed`, by the bundle called `name`,
    whose model has the SHA-256 `model`. `success` is None for an order without an outcome."""

    name: str
    model: str
    workflow: str
    seed: int
    success: bool | None
    end: str


@dataclass(frozen=True)
class Paired:
    """Orders with an outcome in both: done by `both`, by the `first` alone, by the `second` alone,
    by `neither`."""

    both: int
    first: int
    second: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """Of the success rates, second less first."""
        return (self.second - self.first) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the difference: Wald's interval for pairs after half a pair more of each kind,
        which holds for few pairs too (Agresti and Min 2005)."""
        n, first, second = self.n + 2, self.first + 0.5, self.second + 0.5
        middle = (second - first) / n
        half = Z * math.sqrt((first + second) / n - middle**2) / math.sqrt(n)
        return max(-1.0, middle - half), min(1.0, middle + half)


def paired(first: Mapping[int, bool | None], second: Mapping[int, bool | None]) -> Paired:
    """Compare what became of orders, by seed. Orders that one of them has not, or that have no
    outcome in one, do not count. Raises ValueError where none is left."""
    pairs = Counter(
        (a, b) for s, a in first.items() if a is not None and (b := second.get(s)) is not None
    )
    if not pairs:
        raise ValueError("wanted orders with an outcome in both, found none")
    return Paired(pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False])


def kept(path: Path) -> list[Order]:
    """The orders in the file at `path`; none where there is no file. A last line that was not
    written to its end is cut off. Raises ConfigError for any other line that is no order; then the
    file stays as it is."""
    if not path.exists():
        return []
    text = path.read_bytes()
    end = text.rfind(b"\n") + 1
    whole, rest = text[:end], text[end:]
    try:
        found = msgspec.json.Decoder(Order).decode_lines(whole)
        if rest[: len(BEGIN)] != BEGIN[: len(rest)]:
            raise msgspec.DecodeError(f"its last line is {rest[:40]!r}")
    except msgspec.DecodeError as e:
        raise ConfigError(
            f"{path}: wanted an order in each line, found another one ({e}): name another file "
            "with --out"
        ) from None
    if rest:  # the computer went off while it was written
        with path.open("r+b") as file:
            file.truncate(end)
    return found


def in_words(orders: Iterable[Order], names: Sequence[str]) -> str:
    """How the bundles called `names` did, and each beside the first."""
    made = {name: {o.seed: o.success for o in orders if o.name == name} for name in names}
    said = []
    for name, of in made.items():
        good, n = sum(s is True for s in of.values()), sum(s is not None for s in of.values())
        low, high = wilson(good, n)
        rate = f"{100 * good / n:.1f} %, " if n else ""
        said.append(f"{name}: {good} of {n} orders done, {rate}95 % {low:.1%} to {high:.1%}")
    first = names[0]
    for name in names[1:]:
        try:
            p = paired(made[first], made[name])
        except ValueError:
            continue
        low, high = p.interval
        said.append(
            f"{name} beside {first}, {p.n} pairs: {p.both} done by both, {p.neither} by neither, "
            f"{p.first} by {first} alone, {p.second} by {name} alone: {100 * p.difference:+.1f} "
            f"points, 95 % {100 * low:+.1f} to {100 * high:+.1f}"
        )
    return "\n".join(said)


def bundles(given: Sequence[str]) -> dict[str, Path]:
    """The folders by name, from NAME=FOLDER. Raises ConfigError."""
    named = named_folders(given, "fp32=models/workflows")
    if len(named) < 2:
        raise ConfigError(f"wanted two bundles or more to compare, found {len(named)}: name them")
    return named


def main(
    given: tyro.conf.Positional[tuple[str, ...]],
    workflow: str,
    out: Path,
    orders: int = 300,
    seed: int = evaluate.TEST_SEEDS,
    workers: int = 2,
) -> None:
    """Run the same orders with each bundle, and print how they did.

    Args:
        given: bundles as NAME=FOLDER; the first is the one that others are held to.
        workflow: name of the workflow.
        out: file with a JSON line per order, which is gone on with.
        orders: number of orders with each.
        seed: of the first order's scene.
        workers: processes.
    """
    named = bundles(given)
    loaded = {name: load(path).manifest for name, path in named.items()}
    models = {name: m.files[m.onnx].sha256 for name, m in loaded.items()}
    settings = {n: evaluate.settings_of(workflow, path, {}) for n, path in named.items()}
    have = kept(out)
    for order in have:
        if (order.workflow, order.model) != (workflow, models.get(order.name)):
            raise ConfigError(
                f"{out} has an order of {order.workflow} by {order.name} with the model "
                f"{order.model:.12}, which is not among these bundles: name another file with --out"
            )
    done = {(o.name, o.seed) for o in have}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("ab", buffering=0) as file:
        for at in range(seed, seed + orders, TURN):
            for name, of in settings.items():
                turn = range(at, min(at + TURN, seed + orders))
                left = [s for s in turn if (name, s) not in done]
                for made in evaluate.run(of, left, workers):
                    r = made.result
                    success = success_of(r.end, r.success)
                    order = Order(name, models[name], workflow, made.seed, success, r.end)
                    file.write(msgspec.json.encode(order) + b"\n")
                    have.append(order)
            print(f"--- orders to seed {turn[-1]}\n{in_words(have, list(named))}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
