"""A killed run goes on to the very weights that an uninterrupted one reaches."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from loopsr.data.pairs import Sampler
from loopsr.errors import TrainingError
from loopsr.train import loop, objective
from loopsr.train.checkpoint import load_tensors, read_state, save_tensors
from loopsr.train.recipe import Recipe

from .conftest import RECIPE, run


def final(out: Path) -> dict[str, torch.Tensor]:
    return load_tensors(out / loop.CHECKPOINT)[0]


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    different = [key for key in one if not torch.equal(one[key], two[key])]
    assert not different


class Killed(BaseException):
    """Stands for a kill: nothing on the way may catch it."""


def kill_in(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let training fail in its step number ``step``, before anything of that step is kept."""
    original, calls = objective.total_loss, 0

    def stop(*arguments: object, **options: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == step:
            raise Killed
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(objective, "total_loss", stop)


@pytest.mark.parametrize("step", [1, 4, 6])
def test_stopped_run_ends_in_the_same_bits(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    run(pictures, tmp_path / "whole")
    kill_in(monkeypatch, step)
    with pytest.raises(Killed):
        run(pictures, tmp_path / "parts")
    assert run(pictures, tmp_path / "parts").steps == 7
    assert_same(final(tmp_path / "whole"), final(tmp_path / "parts"))
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    for whole, parts in zip(*logs, strict=True):
        # The loss too: it is the mean since the line before, not since the run went on.
        assert {k: whole[k] for k in ("step", "psnr_y", "loss")} == {
            k: parts[k] for k in ("step", "psnr_y", "loss")
        }


def test_a_stopped_run_in_8_bit_integers_ends_in_the_same_bits(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"width": 6, "own": 0, "depth": 2, "iters": 2}
    recipe = dataclasses.replace(RECIPE, network="loop", network_config=config, quantize="int8")
    run(pictures, tmp_path / "whole", recipe)
    kill_in(monkeypatch, 4)
    with pytest.raises(Killed):
        run(pictures, tmp_path / "parts", recipe)
    run(pictures, tmp_path / "parts", recipe)
    assert_same(final(tmp_path / "whole"), final(tmp_path / "parts"))
    grids = final(tmp_path / "whole")["net.network.cell.0.widen.out_step"]
    assert (grids != 0).all()
    with pytest.raises(TrainingError, match="other recipe"):
        run(pictures, tmp_path / "whole", dataclasses.replace(recipe, quantize=None))


def test_control_a_lost_sampler_state_is_noticed(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pictures, tmp_path / "whole")
    kill_in(monkeypatch, 5)
    with pytest.raises(Killed):
        run(pictures, tmp_path / "parts")
    monkeypatch.setattr(Sampler, "restore", lambda self, state: None)
    run(pictures, tmp_path / "parts")
    with pytest.raises(AssertionError):
        assert_same(final(tmp_path / "whole"), final(tmp_path / "parts"))


def test_sigkill(pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe.from_json(RECIPE.to_json().replace('"steps": 7', '"steps": 60'))
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    code = (
        "import sys; from pathlib import Path; from loopsr.train import loop; "
        "from loopsr.train.recipe import Recipe; "
        "loop.train(Recipe.from_json(Path(sys.argv[1]).read_text()), hr=[sys.argv[2]], "
        "out=sys.argv[3], threads=1, device='cpu')"
    )
    out = tmp_path / "parts"
    command = [sys.executable, "-c", code, str(tmp_path / "recipe.json"), str(pictures), str(out)]
    source = str(Path(loop.__file__).parents[2])
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": source})
    deadline = time.monotonic() + 60
    while not (out / loop.CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read_state(out / loop.CHECKPOINT)["step"] > 0
    run(pictures, out, recipe)
    run(pictures, tmp_path / "whole", recipe)
    assert_same(final(tmp_path / "whole"), final(out))


def test_finished_run_is_not_trained_again(pictures: Path, tmp_path: Path) -> None:
    first = run(pictures, tmp_path / "out")
    before = (tmp_path / "out" / loop.CHECKPOINT).read_bytes()
    second = run(pictures, tmp_path / "out")
    assert second.steps == first.steps == 7
    assert second.psnr_y == pytest.approx(first.psnr_y, abs=1e-9)
    assert (tmp_path / "out" / loop.CHECKPOINT).read_bytes() == before


def test_another_recipe_is_refused(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out")
    other = Recipe.from_json(RECIPE.to_json().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(TrainingError, match=r"other recipe.*another --out"):
        run(pictures, tmp_path / "out", other)


def test_time_budget_goes_on_with_the_time_that_is_left(pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe.from_json(RECIPE.to_json().replace('"seconds": null', '"seconds": 0.3'))
    done = run(pictures, tmp_path / "out", recipe)
    assert done.seconds >= 0.3
    assert run(pictures, tmp_path / "out", recipe).steps == done.steps


def test_a_loss_that_is_not_finite_stops_the_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = objective.total_loss, 0

    def poison(*arguments: object, **options: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = original(*arguments, **options)  # type: ignore[arg-type]
        return loss * float("nan") if calls == 5 else loss

    monkeypatch.setattr(objective, "total_loss", poison)
    with pytest.raises(TrainingError, match=r"not finite at step 5.*learning_rate"):
        run(pictures, tmp_path / "out")
    assert read_state(tmp_path / "out" / loop.CHECKPOINT)["step"] == 4
    assert (tmp_path / "out" / "diverged.safetensors").is_file()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from loopsr.errors import TrainingError
from loopsr.train import loop
from loopsr.train.recipe import Recipe

recipe = Recipe.from_json(Path(sys.argv[1]).read_text())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), -1))
try:
    loop.train(recipe, hr=[sys.argv[2]], out=sys.argv[3], threads=1, device="cpu")
except TrainingError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_leaves_the_last_checkpoint(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out, Recipe.from_json(RECIPE.to_json().replace('"steps": 7', '"steps": 2')))
    state = read_state(out / loop.CHECKPOINT)
    state["recipe"] = RECIPE.to_json()  # as if it had been stopped on its way to step 7
    save_tensors(out / loop.CHECKPOINT, final(out), {"loopsr.training": json.dumps(state)})
    before = (out / loop.CHECKPOINT).read_bytes()
    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    code = [sys.executable, "-c", LIMITED, str(tmp_path / "recipe.json"), str(pictures), str(out)]
    environment = os.environ | {"PYTHONPATH": str(Path(loop.__file__).parents[2])}
    done = subprocess.run(
        [*code, str(len(before) // 2)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "checkpoint.safetensors cannot be written" in done.stderr
    assert "goes on from the last checkpoint" in done.stderr
    assert (out / loop.CHECKPOINT).read_bytes() == before
    assert not list(out.glob("*.part"))
    assert run(pictures, out).steps == 7
