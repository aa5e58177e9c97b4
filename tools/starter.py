"""`headway init`: make a folder with the shipped configuration and models, to edit and run."""

from __future__ import annotations

import shlex
from pathlib import Path

from headway import shipped
from headway.errors import ConfigError
from headway.files import whole

README = "README.md"
TEXT = """\
# A folder to start from

Made by `headway init`. Run it from here:

    headway run --config {config}

| file | what it is |
|---|---|
| `{config}` | the run: cell, devices, task, loop, policy, PRO, guard; every key is checked |
| `models/{policy}` | the policy: `bundle.json` says what it sees and how it was made |
| `models/{pro}` | the PRO head that watches the run |
| `models/{risk}` | calibration of PRO's risk, for a `[risk]` section |

Recordings go to `runs/`. `headway run` without `--config` uses the configuration inside the
package, not this one. What to try first:

- `[task] limit_s = 10.0`, the time that an episode may take
- `[cell] scene_config = {{ mass_max = 0.6 }}`, lighter items
- `[guard] force_max = 40.0`, and see what the recording says about it (`headway report`)
"""


def init_command(folder: Path, overwrite: bool = False) -> int:
    """Copy the shipped files into `folder`, and print how to run them. Returns the exit code.
    Raises ConfigError when the folder cannot be written, or has a file of the same name and
    `overwrite` is not given; in the latter case nothing is written."""
    sources = _sources()
    try:
        there = [name for name in (*sources, README) if (folder / name).exists()]
        if there and not overwrite:
            raise ConfigError(
                f"wanted a folder without {there[0]}, found it in {folder}: name another folder, "
                f"or add --overwrite to replace {', '.join(there)}"
            )
        for name, source in sources.items():
            _write(folder / name, source.read_bytes())
        _write(folder / README, _readme().encode())
    except OSError as e:
        raise ConfigError(
            f"cannot write {e.filename2 or e.filename or folder}: {e.strerror}: name a folder that "
            "can be written"
        ) from None
    here = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    print(f"wrote {len(sources) + 1} files to {folder}")
    print(f"next: {here}headway run --config {shipped.CONFIG.relative_to(shipped.ROOT)}")
    return 0


def _sources() -> dict[str, Path]:
    """The files to copy: their names in the folder, and their shipped paths."""
    found = [
        p
        for item in shipped.EDITABLE
        for p in (sorted(item.rglob("*")) if item.is_dir() else [item])
        if p.is_file()
    ]
    return {p.relative_to(shipped.ROOT).as_posix(): p for p in found}


def _readme() -> str:
    return TEXT.format(
        config=shipped.CONFIG.relative_to(shipped.ROOT).as_posix(),
        policy=shipped.POLICY.name,
        pro=shipped.PRO.name,
        risk=shipped.RISK.name,
    )


def _write(path: Path, data: bytes) -> None:
    """Write or replace the file `path`; it is never there in part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_bytes(data)
