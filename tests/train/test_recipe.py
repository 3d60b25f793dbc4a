"""Recipes: overrides with checked types, JSON, and a few steps of each."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from loopsr.errors import TrainingError, UnknownNameError, UsageError, WeightsError
from loopsr.models import count_parameters, create
from loopsr.recipes import RECIPES, find_recipe
from loopsr.train.checkpoint import averaged_network, load_tensors, save_tensors, warm_start
from loopsr.train.loop import CHECKPOINT, train
from loopsr.train.recipe import Recipe, override
from loopsr.weights import catalogue

BASE = Recipe(name="a", network="lrn", scale=2)


def test_overrides() -> None:
    changed = override(
        BASE,
        [
            "steps=5",
            "optim.learning_rate=1e-4",
            "optim.clip=1",
            "loss.supervision=[0.5, 1]",
            "network_config.iters=3",
            "seconds=2",
            "warm_start=lrn-x2",
            "optim.name=adam",
        ],
    )
    assert (changed.steps, changed.optim.learning_rate, changed.optim.clip) == (5, 1e-4, 1.0)
    assert changed.loss.supervision == (0.5, 1.0)
    assert changed.network_config == {"iters": 3}
    assert (changed.seconds, changed.warm_start, changed.optim.name) == (2.0, "lrn-x2", "adam")
    assert override(changed, ["seconds=null"]).seconds is None
    assert BASE.steps != 5


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("steps", UsageError, "has no '='"),
        ("stepps=5", UnknownNameError, "did you mean steps"),
        ("optim.learningrate=1", UnknownNameError, "did you mean optim.learning_rate"),
        ("optimm.name=adam", UnknownNameError, "did you mean optim.name"),
        ("steps=1.5", UsageError, "steps is 1.5, expected int"),
        ("steps=true", UsageError, "steps is True, expected int"),
        ("steps=0", UsageError, "steps is 0, at least 1"),
        ("name=3", UsageError, "name is 3, expected str"),
        ("optim=3", UsageError, "optim"),
        ("optim.betas=[0.9]", UsageError, "expected tuple"),
        ("loss.supervision=[]", UsageError, r"loss.supervision is \[\]"),
        ("ema=1", UsageError, "ema is 1.0"),
        ("beyond=-1", UsageError, "beyond is -1"),
        ("warm_share=1", UsageError, "warm_share is 1.0, expected a share"),
        ("warm_share=0.5", UsageError, "needs a warm_start"),
        ("teacher_share=0", UsageError, "teacher_share is 0.0, expected a share"),
        ("quantize=int4", UnknownNameError, "did you mean int8"),
        ("choices=0", UsageError, "choices is 0"),
        ("copies=-1", UsageError, "copies is -1"),
        ("seed=-1", UsageError, "seed is -1"),
        ("seconds=Infinity", UsageError, "seconds is inf"),
        ("scale=3", UsageError, "take the recipe of that scale"),
        ("name=../evil", UsageError, "name is '../evil'"),
        ("name=", UsageError, "name is ''"),
        ("loss.luma=-1", UsageError, "loss.luma is -1.0"),
        ("loss.supervision=[0, 0]", UsageError, "not all 0"),
        ("optim.learning_rate=-1", UsageError, "optim.learning_rate is -1.0"),
        ("optim.other_learning_rate=NaN", UsageError, "optim.other_learning_rate is nan"),
        ("optim.clip=0", UsageError, "optim.clip is 0.0"),
        ("optim.momentum=5", UsageError, "optim.momentum is 5.0"),
        ("optim.betas=[2, 2]", UsageError, r"optim.betas is \(2.0, 2.0\)"),
        ("optim.decay=0", UsageError, r"optim.decay is 0.0, expected a share 0 < x <= 1"),
    ],
)
def test_wrong_overrides(setting: str, error: type[UsageError], message: str) -> None:
    with pytest.raises(error, match=message):
        override(BASE, [setting])


def test_json_round_trip() -> None:
    for name in RECIPES:
        recipe = find_recipe(name)
        assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(UsageError, match="incomplete"):
        Recipe.from_json('{"name": "a"}')
    with pytest.raises(UnknownNameError, match="batch"):
        Recipe.from_json('{"bach": 1}')


def test_the_list_of_recipes_is_complete() -> None:
    folder = Path(__file__).parents[2] / "src" / "loopsr" / "recipes"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "pictures"}
    assert files == {module.rpartition(".")[2] for module, _ in RECIPES.values()}
    with pytest.raises(UnknownNameError, match="did you mean lrn_x4"):
        find_recipe("lrn-x4")


@pytest.mark.parametrize("name", RECIPES)
def test_three_steps_of_each_recipe(name: str, pictures: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        find_recipe(name), seconds=None, steps=3, batch=2, patch=8, warm_start=None
    )
    lines: list[dict[str, float]] = []
    done = train(recipe, hr=[pictures], out=tmp_path, threads=1, device="cpu", report=lines.append)
    assert done.steps == lines[-1]["step"] == 3
    assert math.isfinite(lines[-1]["loss"])  # a logarithm with some, so of either sign
    assert lines == [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert count_parameters(done.network) < 75_000
    network, saved, state = averaged_network(tmp_path / CHECKPOINT)
    assert (saved, state["step"]) == (recipe, 3)
    weights = zip(network.parameters(), done.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize("name", [name for name in RECIPES if "finish" not in name])
def test_what_ships_is_what_a_recipe_builds(name: str) -> None:
    recipe = find_recipe(name)
    if recipe.name not in catalogue.names():  # only some twins in 8-bit integers ship
        assert recipe.quantize
        return
    built: Any = create(recipe.network, scale=recipe.scale, **recipe.network_config)
    card = catalogue.card(recipe.name)
    assert (card.network, card.config) == (recipe.network, built.config())


def test_warm_start_from_another_scale(pictures: Path, tmp_path: Path) -> None:
    donor, network = create("loop", scale=2), create("loop", scale=3)
    path = tmp_path / "loop-x2.safetensors"
    save_tensors(path, donor.state_dict(), {})
    fresh = warm_start(network, str(path))
    assert fresh == ["tail.bias", "tail.weight"]
    assert torch.equal(network.get_parameter("head.weight"), donor.get_parameter("head.weight"))
    with pytest.raises(WeightsError, match="no tensor"):
        warm_start(create("lrn", scale=2), str(path))


def test_the_warm_start_has_its_share_in_what_ships(pictures: Path, tmp_path: Path) -> None:
    config = {"iters": 1}
    before = create("lrn", scale=2, **config)
    save_tensors(tmp_path / "before.safetensors", before.state_dict(), {})
    recipe = dataclasses.replace(
        BASE,
        network_config=config,
        steps=3,
        batch=2,
        patch=8,
        warm_start=str(tmp_path / "before.safetensors"),
        warm_share=0.25,
    )
    out = tmp_path / "run"
    done = train(recipe, hr=[pictures], out=out, threads=1, device="cpu")
    # The file may be gone, or hold what was trained: the run keeps what it began from.
    (tmp_path / "before.safetensors").unlink()
    again = train(recipe, hr=[pictures], out=out, threads=1, device="cpu")
    packaged, _, _ = averaged_network(out / CHECKPOINT)
    trained = load_tensors(out / CHECKPOINT)[0]
    for key, value in before.state_dict().items():
        average = trained[f"ema.{key}"]
        assert not torch.equal(average, value)
        expected = 0.75 * average + 0.25 * value
        for network in (done.network, again.network, packaged):
            torch.testing.assert_close(network.state_dict()[key], expected)
    assert again.psnr_y == done.psnr_y


def test_a_warm_start_of_another_scale_has_no_share(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "before.safetensors"
    save_tensors(path, create("lrn", scale=3).state_dict(), {})
    recipe = dataclasses.replace(BASE, steps=3, warm_start=str(path), warm_share=0.5)
    with pytest.raises(TrainingError, match="warm_share=0"):
        train(recipe, hr=[pictures], out=tmp_path / "run", threads=1, device="cpu")


def test_training_lowers_the_loss(pictures: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        find_recipe("loop_x2"), seconds=None, steps=60, validate_every=20, batch=4, patch=12
    )
    lines: list[dict[str, float]] = []
    train(recipe, hr=[pictures], out=tmp_path, threads=1, device="cpu", report=lines.append)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["learning_rate"] < lines[0]["learning_rate"]


def test_every_so_many_batches_run_a_step_more(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopsr.train.objective import Objective

    asked: list[int | None] = []
    forward = Objective.forward

    def counted(
        self: Objective, lr: torch.Tensor, hr: torch.Tensor, iters: int | None
    ) -> torch.Tensor:
        asked.append(iters)
        return forward(self, lr, hr, iters)

    monkeypatch.setattr(Objective, "forward", counted)
    recipe = dataclasses.replace(find_recipe("loop_xs_x2"), beyond=2, steps=5, batch=2, patch=8)
    train(recipe, hr=[pictures], out=tmp_path, threads=1, device="cpu", compiled=False)
    assert asked == [3, None, 3, None, 3]
