"""``loopsr train``: train a recipe on folders of pictures, and package the result."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click


@click.command("train")
@click.argument("recipe", required=False)
@click.option(
    "--hr", multiple=True, type=click.Path(), help="Folder of sharp pictures; repeatable."
)
@click.option("--valid", multiple=True, type=click.Path(), help="Folder of validation pictures.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/RECIPE].")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting.")
@click.option("--threads", type=click.IntRange(1), help="Threads; 1 is reproducible to the bit.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--list", "show_list", is_flag=True, help="List the recipes.")
@click.option("--show", is_flag=True, help="Print the settings as JSON and stop.")
def command(
    recipe: str | None,
    hr: tuple[str, ...],
    valid: tuple[str, ...],
    out: Path | None,
    settings: tuple[str, ...],
    threads: int | None,
    device: str,
    show_list: bool,
    show: bool,
) -> None:
    """Train RECIPE on folders of pictures; the same command goes on after a stop.

    Any setting can be changed: --set steps=500 --set optim.learning_rate=1e-3. Without --valid a
    few pictures are held out. The run folder holds checkpoint, log.jsonl and the finished weights.
    """
    from loopsr.errors import UsageError
    from loopsr.recipes import RECIPES, find_recipe

    if show_list:
        click.echo("\n".join(RECIPES))
        return
    if recipe is None:
        raise UsageError(f"no recipe was given; use one of {', '.join(RECIPES)}")
    from loopsr.train.recipe import override

    chosen = override(find_recipe(recipe), settings)
    if show:
        click.echo(json.dumps(json.loads(chosen.to_json()), indent=2))
        return
    if not hr:
        raise UsageError("no pictures were given; type --hr FOLDER")
    from loopsr.train.loop import train

    _log_to_stderr()
    trained = train(
        chosen,
        hr=hr,
        valid=valid,
        out=out or Path("runs") / recipe,
        threads=threads,
        device=device,
        report=_report,
    )
    click.echo(
        json.dumps(
            {
                "name": chosen.name,
                "steps": trained.steps,
                "seconds": round(trained.seconds, 1),
                "psnr_y": round(trained.psnr_y, 4),
            }
        )
    )


def _report(line: dict[str, Any]) -> None:
    text = "step {step}  loss {loss:.5f}  psnr_y {psnr_y:.3f}  {seconds:.0f} s  a step: "
    times = "net {net_ms:.1f} ms, data {data_ms:.1f} ms"
    click.echo((text + times).format(**line), err=True)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("loopsr")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


if __name__ == "__main__":
    command()
