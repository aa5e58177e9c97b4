"""The command `headway study`: compare ways to learn from execution, as planned beforehand."""

from __future__ import annotations

from pathlib import Path

import tyro


def study(
    plan: tyro.conf.Positional[Path | None] = None,
    smoke: bool = False,
    register: bool = False,
    page: bool = False,
    ray: str | None = None,
    workers: int | None = None,
    out: Path | None = None,
    work: Path | None = None,
    page_file: Path | None = None,
    beside: tuple[Path, Path] | None = None,
) -> int:
    """Run a registered study, unit by unit; started again, it goes on where it was.

    Args:
        plan: TOML file of the plan [configs/study/plan.toml; with --smoke, smoke.toml beside it].
        smoke: try the machinery with a small plan that need not be registered.
        register: instead, write down what the plan fixes, before the study runs.
        page: instead, write the page and its plots from the results that there are.
        ray: run on the Ray cluster at HOST:PORT; local starts one on this computer.
        workers: units at a time [one per core].
        out: folder of the results, a file per finished unit [benchmarks/results/study].
        work: folder for units that are not finished [runs/study].
        page_file: with --page or --smoke, the page to write [docs/study.md].
        beside: with --page, plan and results of a study whose arms stand beside those of this one.
    """
    from headway.learn.study.command import Options, study_command

    options = Options(smoke, register, page, ray, workers, out, work, page_file, beside)
    return study_command(plan, options)
