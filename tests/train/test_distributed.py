"""Processes that torchrun starts train as one process with the whole batch does."""

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

from loopsr.train import loop
from loopsr.train.checkpoint import load_tensors, read_state
from loopsr.train.recipe import LossSettings, Recipe

RECIPE = Recipe(
    name="loop-x2",
    network="loop",
    network_config={"width": 6, "own": 1, "depth": 1, "iters": 2},
    scale=2,
    loss=LossSettings(supervision=(0.3, 1.0)),
    choices=2,
    steps=8,
    batch=4,
    patch=8,
    validate_every=3,
    save_every=2,
    precision="float32",
)
# Trains one run after the other; starting processes is what takes the time here.
TRAIN = """
import os
import sys
from pathlib import Path
import torch.distributed
from loopsr.train import loop, run
from loopsr.train.recipe import Recipe

torch.distributed.init_process_group("gloo")
sampler = run.Sampler
for out in map(Path, sys.argv[2:]):
    (out / f"{os.getpid()}.pid").touch()
    if out.name == "fault":  # a planted one: both processes cut the first half of the batch
        run.Sampler = lambda *a, part, **k: sampler(*a, part=(0, part[1]), **k)
    recipe = Recipe.from_json((out / "recipe.json").read_text())
    loop.train(recipe, hr=[sys.argv[1]], out=out, threads=1, device="cpu")
    run.Sampler = sampler
torch.distributed.destroy_process_group()
"""
SOURCE = str(Path(loop.__file__).parents[2])


def torchrun(*arguments: object) -> list[str]:
    """The command that starts two processes on this machine."""
    module = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    return [*module, "--standalone", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def together(pictures: Path, runs: dict[Path, Recipe]) -> list[str]:
    """The command of runs of two processes, one after the other."""
    script = pictures.parent / "train.py"
    script.write_text(TRAIN)
    for out, recipe in runs.items():
        out.mkdir()
        (out / "recipe.json").write_text(recipe.to_json())
    return torchrun(script, pictures, *runs)


def finish(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def largest_difference(one: Path, two: Path) -> float:
    """Between the weights and averages of two runs."""
    a, b = (load_tensors(out / loop.CHECKPOINT)[0] for out in (one, two))
    assert a.keys() == b.keys()
    keys = [key for key in a if key.startswith(("net.", "ema."))]
    return max(float((a[key] - b[key]).abs().max()) for key in keys)


def test_two_processes_give_the_weights_of_one(pictures: Path, tmp_path: Path) -> None:
    alone = loop.train(RECIPE, hr=[pictures], out=tmp_path / "one", threads=1, device="cpu")
    finish(together(pictures, {tmp_path / name: RECIPE for name in ("two", "fault")}))
    states = [read_state(tmp_path / name / loop.CHECKPOINT) for name in ("one", "two")]
    assert alone.steps == states[0]["step"] == states[1]["step"] == 8
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 2e-5
    # So one process may go on with the run of two.
    assert states[0]["sampler"] == states[1]["sampler"]
    logs = [
        [json.loads(x) for x in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*logs, strict=True):
        assert one["step"] == two["step"]
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
        assert one["psnr_y"] == pytest.approx(two["psnr_y"], abs=1e-2)
    assert largest_difference(tmp_path / "one", tmp_path / "fault") > 1e-3


def test_killed_processes_go_on_to_the_same_bits(pictures: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, steps=40, validate_every=100)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    command = together(pictures, {parts: recipe, whole: recipe})
    child = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not (parts / loop.CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    child.kill()
    for file in parts.glob("*.pid"):  # torchrun gives each process a session of its own
        os.kill(int(file.stem), signal.SIGKILL)
    child.wait()
    assert 0 < read_state(parts / loop.CHECKPOINT)["step"] < 40
    assert not (whole / loop.CHECKPOINT).exists()
    finish(command)
    assert read_state(parts / loop.CHECKPOINT)["step"] == 40
    assert largest_difference(whole, parts) == 0


def test_the_command_under_torchrun_speaks_once(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ["steps=4", "batch=2", "patch=8", "network_config.width=4", "validate_every=2"]
    arguments = [word for setting in settings for word in ("--set", setting)]
    options = ["--hr", pictures, "--out", out, "--device", "cpu", *arguments]
    done = finish(torchrun("-m", "loopsr", "train", "loop_x2", *options))
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["steps"] == 4
    assert done.stderr.count("step 2  loss") == 1
    assert (out / "loop-x2.onnx").is_file()
    assert torch.isfinite(load_tensors(out / loop.CHECKPOINT)[0]["net.head.weight"]).all()
