"""The public list is pinned, and importing the package costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import loopsr

PUBLIC = [
    "BackendError",
    "Cancelled",
    "FileResult",
    "ImageError",
    "ImageReadError",
    "ImageWriteError",
    "LoopsrError",
    "MissingExtraError",
    "TrainingError",
    "UnknownNameError",
    "Upscaler",
    "UsageError",
    "WeightsError",
    "__version__",
    "upscale",
    "upscale_file",
]


def test_public_list() -> None:
    assert sorted(loopsr.__all__) == PUBLIC == dir(loopsr)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_every_name_can_be_had(name: str) -> None:
    assert getattr(loopsr, name).__name__ == name


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscal'"):
        _ = loopsr.upscal


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_import_is_lazy() -> None:
    heavy = "{'numpy', 'onnxruntime', 'pyvips', 'torch', 'click', 'rich', 'loopsr.errors'}"
    assert run(f"import sys, loopsr; print({heavy} & set(sys.modules))") == "set()"


def test_upscaling_imports_no_torch() -> None:
    names = "Upscaler, upscale, upscale_file"
    assert run(f"import sys; from loopsr import {names}; print('torch' in sys.modules)") == "False"


def test_the_library_prints_nothing_by_itself() -> None:
    code = "import logging, loopsr; logging.getLogger('loopsr.io').warning('a loss')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == done.stderr == ""
