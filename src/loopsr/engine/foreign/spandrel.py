"""Checkpoints of other projects (.safetensors, .pth), built by `spandrel`; needs its extra.

Nothing is unpickled but tensors: torch's own ``weights_only`` loader reads a .pth, and a file of
TorchScript, which is code, is refused.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
import re
import sys
import threading
import types
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loopsr.engine.foreign.network import MAX_SCALE, Batch, Network
from loopsr.errors import BackendError, MissingExtraError, WeightsError, first_line
from loopsr.weights.catalogue import MAX_FOREIGN_BYTES

_import_lock = threading.Lock()
_MAX_DEPTH = 8  # of dictionaries around the tensors


def open_checkpoint(path: Path, *, threads: int) -> tuple[Network, int, str]:
    """The network of a checkpoint, its number of parameters, and its architecture's name.

    Raises ``MissingExtraError``, ``WeightsError`` for a file that is no state of a network that
    spandrel knows, that is too large, or that would have to run code to be read.
    """
    spandrel, torch = _import()
    torch.set_num_threads(threads)  # a setting of the process: torch knows no other
    state = _read_state(path, torch)
    try:
        model = spandrel.ModelLoader(device="cpu").load_from_state_dict(state)
    except Exception as error:  # each architecture trips in its own way over a foreign state
        raise WeightsError(
            f"{path} is no network that spandrel {spandrel.__version__} knows "
            f"({first_line(error)}); pass another checkpoint, or an ONNX file"
        ) from error
    channels = model.input_channels
    if (
        not isinstance(model, spandrel.ImageModelDescriptor)
        or channels not in (1, 3)
        or model.output_channels != channels
        or not 1 <= model.scale <= MAX_SCALE
    ):
        raise WeightsError(
            f"{path} is a network {model.architecture.name} from {channels} to "
            f"{model.output_channels} channels, x{model.scale}; an upscaler of RGB or luma was "
            "expected"
        )
    model.eval()

    def forward(pixels: Batch) -> Batch:
        try:
            output: Batch = model(torch.from_numpy(pixels)).numpy()
        except Exception as error:
            raise BackendError(
                f"torch cannot run {path.stem} on an input of shape {pixels.shape} "
                f"({first_line(error)})"
            ) from error
        return output

    network = Network(name=path.stem, forward=forward, scale=model.scale, channels=channels)
    count = sum(p.numel() for p in model.model.parameters())
    return network, count, str(model.architecture.name)


def _read_state(path: Path, torch: Any) -> Any:
    """The tensors of a file, in the nest of dictionaries that other projects wrap them in."""
    _check_size(path)
    try:
        if path.suffix == ".safetensors":
            state = importlib.import_module("safetensors.torch").load_file(str(path))
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about protocols of pickle
                state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # What torch says of a pickle is how to run the code in it.
        pickled = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged, or holds more than tensors" if pickled else first_line(error)
        raise WeightsError(
            f"{path} cannot be read as tensors alone ({reason}); save its state_dict as "
            ".safetensors, nothing else is loaded from a stranger's file"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"{path} holds a {type(state).__name__}, a dictionary of tensors was expected; save "
            "its state_dict as .safetensors"
        )
    _check_numbers(path, state)
    return importlib.import_module("spandrel").canonicalize_state_dict(state)


def _check_size(path: Path) -> None:
    """Refuse a file that is, or unpacks to, more than ``MAX_FOREIGN_BYTES``."""
    try:
        size = path.stat().st_size
        if size <= MAX_FOREIGN_BYTES and path.suffix != ".safetensors" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                size = sum(entry.file_size for entry in archive.infolist())
            if any(Path(name).name == "constants.pkl" for name in names):
                raise WeightsError(
                    f"{path} is a TorchScript file, which is code; pass the state_dict as "
                    ".safetensors"
                )
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror or error}); check the path"
        ) from error
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is damaged ({error}); fetch it again") from error
    if size > MAX_FOREIGN_BYTES:
        raise WeightsError(
            f"{path} has more than {MAX_FOREIGN_BYTES // 1024**2} MB, too much for a model here; "
            "pass a smaller one"
        )


def _check_numbers(path: Path, state: Any) -> None:
    """Refuse what would be far larger in memory than in the file.

    A tensor can be a view with steps of zero, and the depth of a network is read off its names.
    """
    total = 0
    waiting = [(state, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            waiting += [(inner, depth + 1) for inner in value.values()]
            high = [key for key in value if re.search(r"(^|\.)\d{5,}(\.|$)", str(key))]
            if high:
                raise WeightsError(
                    f"{path} has a layer number above 9999 ({high[0][:80]!r}); no network here "
                    "has so many, pass another checkpoint"
                )
        elif hasattr(value, "numel"):
            total += value.numel() * value.element_size()
    if total > 2 * MAX_FOREIGN_BYTES:
        raise WeightsError(
            f"{path} claims tensors of {total // 1024**2} MB, more than a file of its size holds; "
            "fetch it again"
        )


def _import() -> tuple[Any, Any]:
    try:
        torch = importlib.import_module("torch")
        with _import_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what torchvision and spandrel do inside
            if "spandrel" not in sys.modules:
                with _torchvision_or_none():
                    importlib.import_module("spandrel")
            return importlib.import_module("spandrel"), torch
    except ImportError as error:
        raise MissingExtraError("opening the checkpoint of another project", "spandrel") from error


@contextlib.contextmanager
def _torchvision_or_none() -> Iterator[None]:
    """Let spandrel be imported where torchvision is missing, or built for another torch.

    spandrel needs two functions of it, for inpainting and for faces, and no upscaler uses them;
    torchvision itself needs the exact torch that it was built with. The stand-in is gone again
    when spandrel is imported, and says what is missing if one of the two is called after all.
    """
    try:
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError, OSError):  # missing, or of another torch
        pass
    else:
        yield
        return

    def missing(*_: Any, **__: Any) -> Any:
        raise MissingExtraError("this network", "spandrel")

    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_torchvision(name)}
    functional = types.ModuleType("torchvision.transforms.functional")
    functional.__dict__.update(
        InterpolationMode=types.SimpleNamespace(), rotate=missing, normalize=missing
    )
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[functional.__name__] = functional
    try:
        yield
    finally:
        for name in list(filter(_is_torchvision, sys.modules)):
            del sys.modules[name]
        sys.modules.update(kept)


def _is_torchvision(name: str) -> bool:
    return name.partition(".")[0] == "torchvision"
