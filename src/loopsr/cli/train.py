"""``loopsr train``: train a recipe on folders of pictures, and package the result."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopsr.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from loopsr.card import ModelCard
    from loopsr.train.recipe import Recipe

_FOLDER = click.Path(path_type=Path)
_WORDS = ("data", "description", "paper")  # of a recipe: they change no weights
_ELSEWHERE = (*_WORDS, "name", "network", "network_config", "scale", "degradation")  # on a card


@click.command("train")
@click.argument("recipe", required=False)
@click.option("--hr", multiple=True, type=_FOLDER, help="Folder of sharp pictures; repeatable.")
@click.option("--valid", multiple=True, type=_FOLDER, help="Folder of validation pictures.")
@click.option("--out", type=_FOLDER, help="Run folder.  [default: runs/RECIPE]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting.")
@click.option("--threads", type=click.IntRange(1), help="Threads; 1 is reproducible to the bit.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--bench", multiple=True, type=_FOLDER, help="Benchmark set to score for the card.")
@click.option("--package-only", is_flag=True, help="Package the run folder as it is now.")
@click.option("--install", is_flag=True, help="Put the finished weights into the package.")
@click.option("--list", "show_list", is_flag=True, help="List the recipes.")
@click.option("--show", is_flag=True, help="Print the settings as JSON and stop.")
def command(recipe: str | None, show_list: bool, **options: Any) -> None:
    """Train RECIPE on folders of pictures; the same command goes on after a stop.

    Any setting can be changed: --set steps=500 --set optim.learning_rate=1e-3. Without --valid a
    few pictures are held out. The run folder holds checkpoint, log.jsonl and the finished weights
    (safetensors, ONNX, golden tensors). Nothing is trained twice: on a finished run, the command
    packages again.
    """
    from loopsr.recipes import RECIPES, find_recipe

    if show_list:
        click.echo("\n".join(RECIPES))
        return
    if recipe is None:
        raise UsageError(f"no recipe was given; use one of {', '.join(RECIPES)}")
    from loopsr.train.recipe import override

    chosen = override(find_recipe(recipe), options["settings"])
    if options["show"]:
        click.echo(json.dumps(json.loads(chosen.to_json()), indent=2))
        return
    out = options["out"] or Path("runs") / recipe
    result = _package_only(chosen, out) if options["package_only"] else _train(chosen, out, options)
    click.echo(json.dumps(_package(result, out, options["bench"], install=options["install"])))


def _train(recipe: Recipe, out: Path, options: dict[str, Any]) -> tuple[nn.Module, ModelCard]:
    """Train to the end; the network with the averaged weights and its card."""
    if not options["hr"]:
        raise UsageError("no pictures were given; type --hr FOLDER")
    _need_torch()
    from loopsr.train.loop import train

    _log_to_stderr()
    keys = ("hr", "valid", "threads", "device")
    trained = train(recipe, out=out, report=_report, **{key: options[key] for key in keys})
    return trained.network, _card(trained.network, recipe, trained.steps, trained.seconds)


def _package_only(words: Recipe, out: Path) -> tuple[nn.Module, ModelCard]:
    """The averaged weights of a run, finished or not; their card in the ``words`` of today."""
    _need_torch()
    from loopsr.train.checkpoint import averaged_network
    from loopsr.train.loop import CHECKPOINT

    if not (out / CHECKPOINT).is_file():
        raise UsageError(f"no run in {out}; pass the --out folder of a run")
    network, recipe, state = averaged_network(out / CHECKPOINT)
    recipe = dataclasses.replace(recipe, **{key: getattr(words, key) for key in _WORDS})
    seconds = state["data_seconds"] + state["net_seconds"]
    return network, _card(network, recipe, state["step"], seconds)


def _card(network: nn.Module, recipe: Recipe, steps: int, seconds: float) -> ModelCard:
    from loopsr.export.package import make_card

    settings = json.loads(recipe.to_json())
    return make_card(
        network,
        name=recipe.name,
        kind=recipe.network,
        description=recipe.description,
        paper=recipe.paper,
        data=recipe.data,
        degradation=recipe.degradation,
        training={
            "recipe": {k: v for k, v in settings.items() if k not in _ELSEWHERE},
            "steps": steps,
            "hours": round(seconds / 3600, 2),
        },
    )


def _package(
    result: tuple[nn.Module, ModelCard], out: Path, bench: tuple[Path, ...], *, install: bool
) -> dict[str, Any]:
    """Write the files of a network into its run folder, scored when asked; what was written."""
    from loopsr.export.package import install as install_package
    from loopsr.export.package import write_package

    network, card = result
    paths = write_package(network, out, card=card)
    if bench:
        from loopsr.engine.upscaler import Upscaler
        from loopsr.train.evaluate import as_numbers, mean_score, score_folder

        upscaler = Upscaler(paths["onnx"])
        for folder in bench:
            rows = list(score_folder(upscaler, folder, scale=card.scale))
            card.scores[folder.name] = as_numbers(mean_score(rows))
        paths = write_package(network, out, card=card)
    if install:
        paths = install_package(network, card=card)
    return {
        "name": card.name,
        "parameters": card.parameters,
        "steps": card.training["steps"],
        "scores": card.scores,
        "files": {kind: str(path) for kind, path in paths.items()},
    }


def _need_torch() -> None:
    from importlib.util import find_spec

    from loopsr.errors import MissingExtraError

    if find_spec("torch") is None:
        raise MissingExtraError("training", "train")


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
