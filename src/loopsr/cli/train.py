"""``loopsr train``: train a recipe on folders of pictures, and package the result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopsr.cli.text import set_names
from loopsr.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from loopsr.card import ModelCard
    from loopsr.train.recipe import Recipe

_FOLDER = click.Path(path_type=Path)
_WORDS = ("data", "description", "paper")  # of a recipe: they change no weights
_ELSEWHERE = (*_WORDS, "name", "network", "network_config", "scale", "degradation")  # on a card


@click.command("train")
@click.argument("names", nargs=-1, metavar="[RECIPE | RUN...]")
@click.option("--hr", multiple=True, type=_FOLDER, help="Folder of sharp pictures; repeatable.")
@click.option("--valid", multiple=True, type=_FOLDER, help="Folder of validation pictures.")
@click.option("--out", type=_FOLDER, help="Run folder.  [default: runs/RECIPE]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting.")
@click.option("--threads", type=click.IntRange(1), help="Threads; 1 is reproducible to the bit.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--resident/--no-resident", default=None, help="Pictures in the device's memory.")
@click.option("--compile/--no-compile", "compiled", default=None, help="Compile the step.")
@click.option("--tensorboard", is_flag=True, help="Log to RUN/tensorboard as well.")
@click.option("--bench", multiple=True, type=_FOLDER, help="Benchmark set to score for the card.")
@click.option("--package-only", is_flag=True, help="Package the run folder as it is now.")
@click.option("--install", is_flag=True, help="Put the finished weights into the package.")
@click.option("--plot", is_flag=True, help="Plot the logs of RUN... into --out FILE.png or .svg.")
@click.option("--list", "show_list", is_flag=True, help="List the recipes.")
@click.option("--show", is_flag=True, help="Print the settings as JSON and stop.")
def command(names: tuple[str, ...], show_list: bool, **options: Any) -> None:
    """Train RECIPE on folders of pictures; the same command goes on after a stop.

    Any setting can be changed: --set steps=500 --set optim.learning_rate=1e-3. Without --valid a
    few pictures are held out. The run folder holds checkpoint, log.jsonl and the finished weights
    (safetensors, ONNX, golden tensors). Nothing is trained twice: on a finished run, the command
    packages again. On a GPU the pictures lie in its memory and the step is compiled, unless told
    otherwise; on a CPU the units of loop are compiled, if it has a C++ compiler. Several GPUs:
    torchrun --nproc-per-node 4 -m loopsr train RECIPE --hr FOLDER
    """
    from loopsr.recipes import RECIPES, find_recipe

    if show_list:
        click.echo("\n".join(RECIPES))
        return
    if options["plot"]:
        click.echo(_plot([Path(name) for name in names], options["out"]))
        return
    if not names:
        raise UsageError(f"no recipe was given; use one of {', '.join(RECIPES)}")
    recipe, *rest = names
    if rest:
        raise UsageError(
            f"one recipe was expected, got {recipe!r} and {rest[0]!r} beside it; "
            "each folder takes an --hr of its own: --hr A --hr B"
        )
    from loopsr.train.recipe import override

    chosen = override(find_recipe(recipe), options["settings"])
    if options["show"]:
        click.echo(json.dumps(json.loads(chosen.to_json()), indent=2))
        return
    if not options["install"] and not any(s.startswith("data=") for s in options["settings"]):
        chosen = dataclasses.replace(chosen, data="")  # those of what ships are not the user's
    out = options["out"] or Path("runs") / recipe
    result = _package_only(chosen, out) if options["package_only"] else _train(chosen, out, options)
    if result is not None:
        click.echo(json.dumps(_package(result, out, options["bench"], install=options["install"])))


def _plot(runs: list[Path], target: Path | None) -> Path:
    """Plot the logs of runs, without more said into the first one's folder; where that is."""
    if not runs:
        raise UsageError("no run was given; type: loopsr train --plot runs/NAME...")
    from loopsr.train.plot import plot

    target = target or (runs[0] if runs[0].is_dir() else runs[0].parent) / "log.png"
    plot(runs, target)
    return target


def _train(
    recipe: Recipe, out: Path, options: dict[str, Any]
) -> tuple[nn.Module, ModelCard] | None:
    """Train to the end; the network with the weights that ship and its card.

    None in all processes of ``torchrun`` but the first: one is enough to package the result.
    """
    if not options["hr"]:
        raise UsageError("no pictures were given; type --hr FOLDER")
    _need_torch()
    from loopsr.train.board import board
    from loopsr.train.distributed import is_first
    from loopsr.train.loop import train

    if is_first():
        _log_to_stderr()
    keys = ("hr", "valid", "threads", "device", "resident", "compiled")
    with contextlib.ExitStack() as stack:
        reports: list[Callable[[dict[str, Any]], None]] = [_report]
        if options["tensorboard"]:
            reports.append(stack.enter_context(board(out / "tensorboard")))

        def report(line: dict[str, Any]) -> None:
            for each in reports:
                each(line)

        trained = train(recipe, out=out, report=report, **{key: options[key] for key in keys})
    if not is_first():
        return None
    return trained.network, _card(trained.network, recipe, trained.steps, trained.seconds)


def _own_pictures(warm_start: str | None) -> str:
    """What a card says of pictures that are not those of the weights that ship."""
    before = _card_of(warm_start)
    return "own pictures" + (f", after those of {before.name}: {before.data}" if before else "")


def _package_only(words: Recipe, out: Path) -> tuple[nn.Module, ModelCard]:
    """What ships of a run, finished or not; its card in the ``words`` of today."""
    _need_torch()
    from loopsr.train.checkpoint import averaged_network
    from loopsr.train.loop import CHECKPOINT

    if not (out / CHECKPOINT).is_file():
        raise UsageError(f"no run in {out}; pass the --out folder of a run")
    network, recipe, state = averaged_network(out / CHECKPOINT)
    if recipe.name != words.name:
        raise UsageError(f"{out} is a run of {recipe.name}, not of {words.name}; name its recipe")
    recipe = dataclasses.replace(recipe, **{key: getattr(words, key) for key in _WORDS})
    seconds = state["data_seconds"] + state["net_seconds"]
    return network, _card(network, recipe, state["step"], seconds)


def _card(network: nn.Module, recipe: Recipe, steps: int, seconds: float) -> ModelCard:
    from loopsr.export.package import make_card

    settings = json.loads(recipe.to_json())
    for key in ("warm_start", "teacher"):
        if settings[key]:  # the name only: where it lies on this machine is nobody's business
            settings[key] = re.sub(r"\.(safetensors|onnx)$", "", Path(settings[key]).name)
    return make_card(
        network,
        name=recipe.name,
        kind=recipe.network,
        description=recipe.description,
        paper=recipe.paper,
        data=recipe.data or _own_pictures(recipe.warm_start),
        degradation=recipe.degradation,
        training={
            "recipe": {k: v for k, v in settings.items() if k not in _ELSEWHERE},
            "steps": steps,
            "hours": round(seconds / 3600, 2),
            **_before(recipe.warm_start),
        },
    )


def _before(source: str | None) -> dict[str, Any]:
    """The runs that made the weights a run began from, oldest first, as far as a card tells."""
    card = _card_of(source)
    if card is None:
        return {}
    training = dict(card.training)
    return {"before": [*training.pop("before", []), training]}


def _card_of(source: str | None) -> ModelCard | None:
    """That of weights to begin from; a checkpoint, and weights that are gone, have none."""
    from loopsr.errors import LoopsrError
    from loopsr.weights import catalogue

    if source is None:
        return None
    try:
        return catalogue.find(source, kind="safetensors")[0]
    except LoopsrError:
        return None


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
        for name, folder in zip(set_names(bench), bench, strict=True):
            rows = list(score_folder(upscaler, folder, scale=card.scale))
            card.scores[name] = as_numbers(mean_score(rows))
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
