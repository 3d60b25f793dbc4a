"""The command line as a subprocess, over a folder of small networks."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from loopsr.cli import main
from loopsr.weights import catalogue

# Runs `loopsr` over another folder of weights: argv is the folder, then the arguments.
LAUNCH = """
import sys
from pathlib import Path
from loopsr.weights import catalogue
catalogue.FOLDER = Path(sys.argv.pop(1))
from loopsr.cli import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    returncode: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Loopsr:
    """Runs the command in a folder: quickly, in this process."""

    weights: Path
    folder: Path
    capture: pytest.CaptureFixture[bytes]

    def __call__(self, *arguments: object) -> Run:
        self.capture.readouterr()
        code = main([str(argument) for argument in arguments])
        return Run(code, *self.capture.readouterr())


@dataclass(frozen=True)
class Process:
    """Runs the command in a folder as a process of its own: for streams, signals and imports."""

    weights: Path
    folder: Path

    def __call__(
        self, *arguments: object, input: bytes | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        return self._run(self.line(*arguments), input=input, **options)

    def python(self, code: str) -> subprocess.CompletedProcess[bytes]:
        """Run a script in the same folder and environment."""
        return self._run([sys.executable, "-c", code])

    def _run(self, line: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            line,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            timeout=120,
            **options,
        )

    def line(self, *arguments: object) -> list[str]:
        return [
            sys.executable,
            "-W",
            "error",
            "-c",
            LAUNCH,
            str(self.weights),
            *map(str, arguments),
        ]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.fixture
def loopsr(
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Loopsr:
    """The command, run in `tmp_path` over the small networks."""
    monkeypatch.setattr(catalogue, "FOLDER", tiny_weights)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return Loopsr(tiny_weights, tmp_path, capfdbinary)


@pytest.fixture
def process(tiny_weights: Path, tmp_path: Path) -> Process:
    """The command as a process, run in `tmp_path` over the small networks."""
    return Process(tiny_weights, tmp_path)


def photo(width: int = 24, height: int = 16, bands: int = 3, depth: int = 8) -> pyvips.Image:
    """A picture with gradients and edges, uint8 or uint16."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x / width, y / height, (x // 4 + y // 4) % 2 * 0.8 + 0.1, np.where(x > y, 1.0, 0.3)]
    most = 2**depth - 1
    pixels = np.round(np.stack(planes[:bands], axis=2) * most)
    kind = np.uint8 if depth == 8 else np.uint16
    meaning = {1: "b-w", 3: "srgb", 4: "srgb"} if depth == 8 else {1: "grey16", 3: "rgb16"}
    return pyvips.Image.new_from_array(pixels.astype(kind), interpretation=meaning[bands])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small PNG."""
    path = tmp_path / "photo.png"
    photo().write_to_file(str(path))
    return path


def leftovers(folder: Path, *known: str) -> set[str]:
    """Names in a folder, hidden ones too, other than the known ones."""
    return {path.name for path in folder.iterdir()} - set(known)
