"""From a model's name, or a path, to its card and a file that may be trusted.

``index.json`` beside this file lists what ships, with the SHA-256 of each file:
``{name: {"safetensors": ..., "onnx": ...}}`` (see ``write_index``). Files are
compared with it before they are used. A path of the user's own is taken as it is, within limits;
nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopsr.card import CARD_KEY, MAX_CARD_BYTES, ModelCard
from loopsr.errors import UnknownNameError, UsageError, WeightsError
from loopsr.weights.onnx_file import find_card_text, read_card_text

FOLDER = Path(__file__).parent
INDEX = "index.json"
# scale -> the model that is taken when nobody names one.
DEFAULT: dict[int, str] = {2: "loop-x2", 3: "loop-x3", 4: "loop-x4"}
INT8_TAG = ".int8"
MAX_FILE_BYTES = 64 * 1024**2
MAX_FOREIGN_BYTES = 512 * 1024**2  # of a network of another project
_MAX_HEADER_BYTES = 1024**2
_KINDS = ("safetensors", "onnx")
_AGAIN = "type: pip install --force-reinstall loopsr"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-x\d+(\.[a-z0-9]+)*")


def names() -> tuple[str, ...]:
    """Names of all models that ship, sorted."""
    return tuple(sorted(_index()))


def card(name: str) -> ModelCard:
    """The card of a model that ships, or of a path; reads headers only, so lists are fast.

    Raises ``UnknownNameError`` for a name that is not listed, ``WeightsError`` for a damaged file.
    """
    if is_path(name):
        return read_card(Path(name))
    _entry(name)
    for kind in _KINDS:
        path = FOLDER / f"{name}.{kind}"
        if path.exists():
            return read_card(path)
    raise WeightsError(f"{FOLDER / name}.onnx is missing; {_AGAIN}")


def onnx_path(name: str) -> Path:
    """The verified ONNX file of a model that ships."""
    return _verified(name, "onnx")


def safetensors_path(name: str) -> Path:
    """The verified safetensors file of a model that ships."""
    return _verified(name, "safetensors")


def find(model: str | Path, *, kind: str = "onnx") -> tuple[ModelCard, Path]:
    """The card and the file of a name or a path; ``kind`` is "onnx" or "safetensors".

    A path is a ``Path``, or text that ends in .onnx or .safetensors or holds a slash. Raises
    ``UnknownNameError``, ``UsageError`` for a path of the other kind, ``WeightsError``.
    """
    if not is_path(model):
        path = _verified(str(model), kind)
        return read_card(path), path
    path = Path(model)
    if path.suffix != f".{kind}":
        backend = {"onnx": "onnxruntime", "safetensors": "torch"}.get(path.suffix[1:])
        advice = f"pass one, or the backend {backend}" if backend else "pass one"
        raise UsageError(f"{path} was given where a .{kind} file is needed; {advice}")
    return read_card(path), path


def is_int8(name: str) -> bool:
    """Whether the name on a card is that of a network with layers of 8-bit integers."""
    return name.endswith(INT8_TAG)


def int8_name(name: str) -> str:
    """The name of the model's twin with layers of 8-bit integers.

    Raises ``UsageError`` when there is none.
    """
    twin = name if is_int8(name) else name + INT8_TAG
    if twin not in _index():
        raise UsageError(
            f"{name} has no file with 8-bit integers; pass --precision float32, or as --model "
            "the path of one that `python -m loopsr.export.quantize` made"
        )
    return twin


def family(name: str) -> dict[int, str]:
    """scale -> name of the models that differ from ``name`` in scale only, itself included.

    A name may leave its scale out: that of ``loop.photo`` is that of ``loop-x4.photo``. Raises
    ``UnknownNameError``.
    """
    if is_path(name):
        return {card(name).scale: name}
    parts = re.fullmatch(r"(.*?)(-x\d+)?(\..*)?", name, re.DOTALL)
    assert parts  # any text has that form
    start, with_scale, tag = parts.groups("")
    mates = {}
    for other in names():
        match = re.fullmatch(rf"{re.escape(start)}-x(\d+){re.escape(tag)}", other)
        if match:
            mates[int(match[1])] = other
    return mates if mates and not with_scale else mates | {card(name).scale: name}


def own_scale(name: str) -> int | None:
    """The scale of a name or a path; None of a name that leaves it out. ``UnknownNameError``."""
    if is_path(name) or name in names():
        return card(name).scale
    family(name)  # raises for a name that is in no form known
    return None


def is_path(model: str | Path) -> bool:
    """Whether a model is given as a file rather than by name."""
    if isinstance(model, Path):
        return True
    return model.endswith((".onnx", ".safetensors")) or "/" in model or "\\" in model


def read_card(path: Path) -> ModelCard:
    """The card inside an .onnx or .safetensors file. Raises ``WeightsError``."""
    if path.suffix == ".onnx":
        return ModelCard.from_json(read_card_text(read_bytes(path), file=str(path)))
    if path.suffix == ".safetensors":
        return ModelCard.from_json(_safetensors_card(path))
    raise WeightsError(f"{path} is no weight file; pass a .onnx or .safetensors file")


def holds_card(path: Path) -> bool:
    """Whether a weight file is one of ours; other projects' have no card. ``WeightsError``."""
    if path.suffix == ".onnx":
        data = read_bytes(path, most=MAX_FOREIGN_BYTES)
        return find_card_text(data, file=str(path)) is not None
    return path.suffix == ".safetensors" and CARD_KEY in _safetensors_metadata(path)


def build_index(folder: Path) -> dict[str, dict[str, str]]:
    """What ``index.json`` has to say of the weight files in a folder."""
    index: dict[str, dict[str, str]] = {}
    for kind in _KINDS:
        for path in sorted(folder.glob(f"*.{kind}")):
            index.setdefault(path.name.removesuffix(f".{kind}"), {})[kind] = _sha256(
                read_bytes(path)
            )
    return dict(sorted(index.items()))


def write_index(folder: Path | None = None) -> None:
    """Write ``index.json`` for the weight files in a folder, after weights were exported there."""
    folder = folder or FOLDER
    (folder / INDEX).write_text(json.dumps(build_index(folder), indent=2) + "\n")


def _index() -> Mapping[str, Mapping[str, Any]]:
    path = FOLDER / INDEX
    if not path.exists():
        return {}
    try:
        index: Any = json.loads(read_bytes(path))
        for name, entry in index.items():
            if not _NAME.fullmatch(name) or not isinstance(entry, dict):
                raise ValueError(f"{name!r} is malformed")
    except (ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); {_AGAIN}") from error
    checked: Mapping[str, Mapping[str, Any]] = index
    return checked


def _entry(name: str) -> Mapping[str, Any]:
    index = _index()
    if name not in index:
        if not index:
            raise WeightsError(f"no model is installed in {FOLDER}; {_AGAIN}")
        raise UnknownNameError("model", name, index)
    return index[name]


def _verified(name: str, kind: str) -> Path:
    expected = _entry(name).get(kind)
    path = FOLDER / f"{name}.{kind}"
    if expected is None:
        raise WeightsError(f"{name} does not ship as .{kind}; pass another model or backend")
    found = _sha256(read_bytes(path))
    if found != expected:
        raise WeightsError(
            f"{path} is damaged: its SHA-256 is {found[:12]}..., {expected[:12]}... was expected; "
            f"{_AGAIN}"
        )
    return path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _unreadable(path: Path, error: OSError) -> WeightsError:
    advice = _AGAIN if path.parent == FOLDER else "check the path"
    return WeightsError(f"{path} cannot be read ({error.strerror or error}); {advice}")


def read_bytes(path: Path, *, most: int | None = None) -> bytes:
    """All bytes of a file that has no more than ``most``, or than a weight file of ours may have.

    Raises ``WeightsError``.
    """
    most = most or MAX_FILE_BYTES
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > most:
        raise WeightsError(
            f"{path} has more than {most // 1024**2} MB, too much for a model here; "
            "pass a smaller one"
        )
    return data


def _safetensors_metadata(path: Path) -> Mapping[str, Any]:
    """The metadata out of a safetensors header: 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        metadata: Mapping[str, Any] = header.get("__metadata__") or {}
        iter(metadata.items())
    except OSError as error:
        raise _unreadable(path, error) from error
    except (struct.error, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} is no safetensors file ({error}); fetch it again") from error
    return metadata


def _safetensors_card(path: Path) -> str:
    metadata = _safetensors_metadata(path)
    if CARD_KEY not in metadata:
        raise WeightsError(f"{path} holds no model card; export it with loopsr")
    text = metadata[CARD_KEY]
    if not isinstance(text, str) or len(text) > MAX_CARD_BYTES:
        raise WeightsError(f"{path} holds no readable model card; export it with loopsr")
    return text
