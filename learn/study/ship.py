"""The policies and PRO heads that ship, from finished units of a study.

    python -m headway.learn.study.ship --work runs/study --seed 2 --out models

writes `workflows_learned`, the policies that an arm has after the last round, and
`workflows_cloned`, those that all arms began with: one network each, with a head for each workflow
(`learn.policy.join`); and `workflows_pro/WORKFLOW`, what the arm's PRO has learned. The seed is the
first one of a study: it was not chosen by its results. With `--workflows shoebox --keep pick_place
returns` only the heads of shoeboxes are new, and the others stay those of the bundles that are
there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from headway import bundle
from headway.errors import ConfigError
from headway.learn.policy.join import join

WORKFLOWS = ("pick_place", "shoebox", "returns")


def ship(
    work: Path,
    out: Path,
    workflows: Sequence[str],
    arm: str,
    seed: int,
    rounds: int,
    command: str,
    keep: Sequence[str] = (),
) -> list[Path]:
    """Write the bundles that `command` makes into the folder `out`, and return theirs. The heads of
    the workflows `keep` are those of the bundles there. Raises ConfigError for units of which the
    folder `work` of the study has no results, and what `join` raises."""
    units = {w: work / f"{arm}_{w}_{seed}" for w in workflows}
    learned = {w: _there(unit / f"round-{rounds}" / "policy") for w, unit in units.items()}
    heads = {w: _there(unit / "pro") for w, unit in units.items()}
    cloned = {w: _only(work / "shared", f"{w}_{seed}_*") / "clone" for w in workflows}
    made = []
    for name, new in (("workflows_learned", learned), ("workflows_cloned", cloned)):
        kept = dict.fromkeys(keep, out / name)
        made.append(join({**new, **kept}, out / name, command).path)
    for w, folder in heads.items():
        old = bundle.load(folder)
        assert old.manifest.pro is not None
        about = structs.replace(old.manifest.pro, about="line")  # units before that key was there
        made_by = structs.replace(old.manifest.provenance, command=command)
        manifest = structs.replace(
            old.manifest, name=f"{w}_pro", pro=about, provenance=made_by, files={}
        )
        files = {name: old.path / name for name in old.manifest.files}
        made.append(bundle.save(out / "workflows_pro" / w, manifest, files).path)
    return made


def _there(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(
            f"wanted a finished unit with {folder}, found none: run the study first (docs/study.md)"
        )
    return folder


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ConfigError(
            f"wanted one folder {folder / pattern}, found {len(found)}: name the --work of a study"
        )
    return found[0]


def main(
    work: Path = Path("runs/study"),
    out: Path = Path("models"),
    workflows: tuple[str, ...] = WORKFLOWS,
    arm: str = "1.6",
    seed: int = 2,
    rounds: int = 5,
    keep: tuple[str, ...] = (),
) -> None:
    """Make the bundles that ship from units of a study.

    Args:
        work: folder of the study's unfinished and finished units.
        out: folder for the bundles.
        workflows: which; all of one seed.
        arm: which has learned.
        seed: of the units.
        rounds: after which the arm's policy is taken.
        keep: workflows whose heads stay those of the bundles in `out`.
    """
    command = " ".join(["python -m headway.learn.study.ship", *sys.argv[1:]])
    for path in ship(work, out, workflows, arm, seed, rounds, command, keep):
        size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        print(f"wrote {path} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
