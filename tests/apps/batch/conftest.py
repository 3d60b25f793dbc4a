"""What the tests of runs share: small networks, pictures, a run over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from loopsr import Upscaler
from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.run import Outcome, run
from loopsr.apps.batch.settings import Settings, Size
from loopsr.weights import catalogue

SETTINGS = Settings(size=Size(scale=2.0))
Run = Callable[..., list[Outcome]]


def photo(path: Path, width: int = 24, height: int = 16, seed: int = 0) -> Path:
    """A noisy picture in the format that the name says; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pyvips.Image.new_from_array(noise, interpretation="srgb").write_to_file(str(path))
    return path


@pytest.fixture
def upscaler(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Upscaler:
    """Runs the small untrained networks, in one thread."""
    monkeypatch.setattr(catalogue, "FOLDER", tiny_weights)
    return Upscaler(threads=1, max_memory=1 << 30)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Six pictures of several sizes and formats, to be mirrored in `out`."""
    made = []
    for number, suffix in enumerate(("png", "jpg", "webp", "tif", "png", "gif")):
        below = ("", "a/", "a/b/")[number % 3]
        name = f"{below}p{number}.{suffix}"
        photo(tmp_path / "in" / name, 24 + 7 * number, 16 + 5 * number, number)
        made.append(Job(str(tmp_path / "in" / name), str(tmp_path / "out" / name), name))
    return made


@pytest.fixture
def do(upscaler: Upscaler, tmp_path: Path) -> Run:
    """A whole run into `out`; one job after another unless `lanes` is given."""

    def do(jobs: Sequence[Job], settings: Settings = SETTINGS, **options: Any) -> list[Outcome]:
        options = {"folder": tmp_path / "out", "lanes": 1, "memory": 1 << 30} | options
        return list(run(jobs, settings, upscaler, **options))

    return do


def contents(folder: Path) -> dict[str, bytes]:
    """Every visible file below a folder, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".loopsr.jsonl"
    }
