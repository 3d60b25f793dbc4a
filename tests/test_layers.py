"""The rules of who may import whom hold, and would be broken by a bad import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a copy of the project."""
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and the contracts, to be spoilt."""
    if not (ROOT / ".importlinter").exists():
        pytest.skip("needs the source tree, with .importlinter")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    ignore = shutil.ignore_patterns("__pycache__", "*.onnx", "*.safetensors")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignore)
    return tmp_path


def test_layers_hold_and_a_planted_import_is_caught(copy: Path) -> None:
    good = lint(copy)
    assert good.returncode == 0, good.stdout
    with (copy / "src/loopsr/card.py").open("a") as file:
        file.write("\n\ndef late() -> None:\n    import loopsr.engine.plan\n")
    bad = lint(copy)
    assert bad.returncode == 1
    assert "loopsr.card -> loopsr.engine.plan" in bad.stdout


def test_a_planted_torch_on_the_road_of_upscale_is_caught(copy: Path) -> None:
    with (copy / "src/loopsr/engine/plan.py").open("a") as file:
        file.write("\n\ndef late() -> None:\n    import torch\n")
    bad = lint(copy)
    assert bad.returncode == 1
    assert "loopsr.engine.plan -> torch" in bad.stdout
