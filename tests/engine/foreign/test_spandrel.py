"""Checkpoints of other projects: a real architecture, and files that are traps."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from loopsr.engine.foreign import spandrel as foreign
from loopsr.engine.foreign.network import upscale
from loopsr.errors import MissingExtraError, WeightsError

pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def compact() -> torch.nn.Module:
    """Real-ESRGAN's small network, x2, as spandrel builds it; random weights."""
    foreign._import()
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).eval()


@pytest.fixture(params=["safetensors", "pth"])
def checkpoint(compact: torch.nn.Module, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"other.{request.param}"
    if request.param == "pth":
        torch.save({"params_ema": compact.state_dict()}, path)
    else:
        save_file(compact.state_dict(), path)
    return path


def test_a_checkpoint_upscales(checkpoint: Path, compact: torch.nn.Module) -> None:
    network, parameters, architecture = foreign.open_checkpoint(checkpoint, threads=1)
    assert (network.scale, network.channels, network.name) == (2, 3, "other")
    assert parameters == sum(p.numel() for p in compact.parameters())
    assert "Compact" in architecture
    image = np.random.default_rng(0).integers(0, 256, (7, 10, 3), np.uint8)
    with torch.no_grad():
        x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        expected = compact(x).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(upscale(network, image) - expected).max() < 0.51


def test_nothing_of_torchvision_is_left_behind() -> None:
    foreign._import()
    left = [m for n, m in sys.modules.items() if n == "torchvision" and m.__spec__ is None]
    assert not left


class Trap:
    """Unpickled by a careless loader, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    path, trap = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"params": Trap(trap)}, path)
    with pytest.raises(WeightsError, match="save its state_dict"):
        foreign.open_checkpoint(path, threads=1)
    assert not trap.exists()
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:  # control: it is a trap
        pickle.loads(archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl"))))
    assert trap.exists()


@pytest.mark.parametrize("protocol", [None, 2, 4])
def test_a_pickle_is_refused_in_our_own_words(tmp_path: Path, protocol: int | None) -> None:
    """Torch's name the switch that would run the code; warnings would be more of its lines."""
    path = tmp_path / "trap.pth"
    if protocol is None:
        torch.save(torch.nn.Conv2d(1, 1, 1), path)
    else:
        path.write_bytes(pickle.dumps({"params": Trap(tmp_path / "sprung")}, protocol=protocol))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(WeightsError) as caught:
            foreign.open_checkpoint(path, threads=1)
    assert str(caught.value) == (
        f"{path} cannot be read as tensors alone (it is damaged, or holds more than tensors); "
        "save its state_dict as .safetensors, nothing else is loaded from a stranger's file"
    )
    assert not told
    assert not (tmp_path / "sprung").exists()


def test_whole_modules_and_other_things_are_refused(tmp_path: Path) -> None:
    for name, value in {
        "module.pth": torch.nn.Conv2d(1, 1, 1),
        "list.pth": [torch.zeros(1)],
    }.items():
        torch.save(value, tmp_path / name)
        with pytest.raises(WeightsError, match="state_dict"):
            foreign.open_checkpoint(tmp_path / name, threads=1)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save lays it out
        archive.writestr("script/constants.pkl", b"")
        archive.writestr("script/data.pkl", b"")
    with pytest.raises(WeightsError, match="which is code"):
        foreign.open_checkpoint(path, threads=1)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.ckpt"])
def test_garbage_and_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read \(No such file.*\); check the path"):
        foreign.open_checkpoint(tmp_path / name, threads=1)
    (tmp_path / name).write_bytes(b"PK\3\4 no archive" * 20)
    with pytest.raises(WeightsError):
        foreign.open_checkpoint(tmp_path / name, threads=1)


def test_a_state_of_no_known_network(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="no network that spandrel"):
        foreign.open_checkpoint(tmp_path / "a.safetensors", threads=1)


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MAX_FOREIGN_BYTES", 10**6)
    view = tmp_path / "view.pth"
    torch.save({"params": {"a": torch.zeros(1).expand(10**9)}}, view)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed/data/0", bytes(2 * 10**6))
    large = tmp_path / "large.safetensors"
    save_file({"a": torch.zeros(10**6)}, large)
    layers = tmp_path / "layers.safetensors"  # spandrel would build as many as the last one says
    save_file({"body.0.weight": torch.zeros(1), "body.99999999.weight": torch.zeros(1)}, layers)
    for path, message in (
        (view, "claims"),
        (packed, "too much"),
        (large, "too much"),
        (layers, "layer number"),
    ):
        with pytest.raises(WeightsError, match=message):
            foreign.open_checkpoint(path, threads=1)


def test_without_spandrel(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['spandrel'] = None\n"
        "from pathlib import Path\n"
        "from loopsr.engine.foreign.spandrel import open_checkpoint\n"
        "open_checkpoint(Path('x.pth'), threads=1)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert MissingExtraError.__name__ in run.stderr
    assert "pip install 'loopsr[spandrel]'" in run.stderr
