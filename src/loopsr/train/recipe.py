"""A recipe: everything that decides a training run, as plain frozen data.

A recipe and the pictures give the weights. It travels in the checkpoint, so that a run goes on with
what it began with, and in the model card.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from loopsr.errors import UnknownNameError, UsageError

T = TypeVar("T")

# Settings that a stopped run may change: they decide nothing about its weights.
FREE_SETTINGS = ("data", "description", "paper", "save_every", "validate_every")
QUANTIZE = ("int8",)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What is minimised. ``supervision`` weighs the pictures of the last steps, in order."""

    name: str = "l1"
    luma: float = 0.0  # weight of the same loss on MATLAB's luma, which is what is measured
    supervision: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Check ranges. Raises ``UsageError``."""
        if not self.luma >= 0:
            raise UsageError(f"loss.luma is {self.luma}, expected 0 or more")
        if not self.supervision or min(self.supervision) < 0 or not sum(self.supervision) > 0:
            raise UsageError(
                f"loss.supervision is {list(self.supervision)}; expected weights of 0 or more, not "
                "all 0, for example [1.0]"
            )


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """How it is minimised. With ``muon`` the hidden weights take ``learning_rate``."""

    name: str = "muon"
    learning_rate: float = 1e-2
    other_learning_rate: float = 2e-3  # of all that Muon leaves to Adam; unused with name = adam
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 0.5  # largest norm of the whole gradient
    warmup: float = 0.03  # share of the run
    decay: float = 1.0  # share of the run, at its end, in which the rates fall to 0 by a cosine

    def __post_init__(self) -> None:
        """Check ranges. Raises ``UsageError``."""
        for key in ("learning_rate", "other_learning_rate", "clip"):
            if not 0 < getattr(self, key) < math.inf:
                raise UsageError(
                    f"optim.{key} is {getattr(self, key)}, expected a number above 0; try 1e-3"
                )
        for key, values in (("momentum", (self.momentum,)), ("betas", self.betas)):
            if not all(0 <= value < 1 for value in values):
                raise UsageError(
                    f"optim.{key} is {getattr(self, key)}, expected 0 <= x < 1; try 0.9"
                )
        if not 0 <= self.warmup < 1:
            raise UsageError(f"optim.warmup is {self.warmup}, expected a share 0 <= x < 1")
        if not 0 < self.decay <= 1:
            raise UsageError(f"optim.decay is {self.decay}, expected a share 0 < x <= 1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training run. Lengths are in input pixels; ``seconds`` overrides ``steps`` when given.

    A run limited by ``seconds`` follows its schedule by what it computed (on a CPU its processor
    time, a thread), so it is not reproducible to the bit, on another machine or on this one.
    """

    name: str
    network: str
    scale: int
    network_config: dict[str, Any] = field(default_factory=dict)  # besides scale
    description: str = ""  # these three are for the card
    paper: str = ""
    data: str = ""  # training pictures with their licences
    degradation: str = "bicubic"
    variants: int = 1  # differently degraded twins of a picture; for random degradations
    copies: int = 0  # of every picture, reduced by random factors
    loss: LossSettings = field(default_factory=LossSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    beyond: int = 0  # every so many batches run, and supervise, a step more than the network has
    steps: int = 20_000
    seconds: float | None = None
    batch: int = 8
    patch: int = 32
    choices: int = 1  # crops that are drawn for one; that with the most detail is taken
    colours: bool = False  # the three colours of a crop stand in a random order
    negatives: bool = False  # half of the crops are negatives
    ema: float = 0.999
    quantize: str | None = None  # int8: train what 8-bit integers compute, and export that
    precision: str = "auto"  # auto: bfloat16 where the processor has it; float32; bfloat16
    seed: int = 0
    warm_start: str | None = None  # name or path of a safetensors file
    revive: bool = False  # channels of the warm start that no picture excites begin anew
    # What ships is the mean of the trained weights and, with this share, the warm start's: often
    # better than either (Wortsman et al., CVPR 2022, "Robust fine-tuning of zero-shot models").
    warm_share: float = 0.0
    teacher: str | None = None  # name or ONNX file of a network, whose pictures are in the targets
    teacher_share: float = 0.7  # by this share
    validate_every: int = 1000
    save_every: int = 250

    def __post_init__(self) -> None:
        """Check ranges. Raises ``UsageError``."""
        counts = ("steps", "batch", "patch", "choices", "variants", "scale")
        for key in (*counts, "validate_every", "save_every"):
            if getattr(self, key) < 1:
                raise UsageError(f"{key} is {getattr(self, key)}, at least 1 was expected")
        if self.quantize not in (None, *QUANTIZE):
            raise UnknownNameError("kind of quantize", str(self.quantize), QUANTIZE)
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema is {self.ema}, expected 0 <= ema < 1; try 0.999")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UsageError(f"seconds is {self.seconds}, expected a number above 0")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}, expected 0 or more")
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", self.name):
            raise UsageError(
                f"name is {self.name!r}, which the files are called by; expected letters, digits, "
                "dots and dashes"
            )
        if self.copies < 0:
            raise UsageError(f"copies is {self.copies}, expected 0 (none) or more; try 2")
        if self.beyond < 0:
            raise UsageError(f"beyond is {self.beyond}, expected 0 (never) or more; try 4")
        if not 0 <= self.warm_share < 1:
            raise UsageError(f"warm_share is {self.warm_share}, expected a share 0 <= x < 1")
        if self.warm_share and (not self.warm_start or self.revive or self.quantize):
            raise UsageError(
                f"warm_share is {self.warm_share}, which needs a warm_start and neither revive nor "
                "quantize; pass warm_start=FILE, revive=false and quantize=null, or warm_share=0"
            )
        if not 0 < self.teacher_share <= 1:
            raise UsageError(f"teacher_share is {self.teacher_share}, expected a share 0 < x <= 1")

    def to_json(self) -> str:
        """The recipe as one JSON object with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what ``to_json`` wrote. Raises ``UsageError``."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"the recipe is no JSON ({error})") from error
        return _build(cls, values, "")


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply ``["steps=500", "optim.learning_rate=1e-4"]``; types are checked.

    Values are JSON; a bare word is a text. Raises ``UnknownNameError`` and ``UsageError``.
    """
    values = dataclasses.asdict(recipe)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} has no '='; type --set name=value")
        *parents, last = path.split(".")
        target = values
        for parent in parents:
            if not isinstance(target.get(parent), dict):
                raise UnknownNameError("setting", path, _names(Recipe))
            target = target[parent]
        if last not in target and path.split(".")[0] != "network_config":
            raise UnknownNameError("setting", path, _names(Recipe))
        try:
            target[last] = json.loads(text)
        except ValueError:
            target[last] = text
    changed = _build(Recipe, values, "")
    if changed.scale != recipe.scale:
        raise UsageError(
            f"scale is {changed.scale}, that of {recipe.name} is {recipe.scale}; take the recipe "
            "of that scale (loopsr train --list)"
        )
    return changed


def _names(cls: Any) -> list[str]:
    """All settings with their dots."""
    names: list[str] = []
    for key, kind in typing.get_type_hints(cls).items():
        inner = _names(kind) if dataclasses.is_dataclass(kind) else []
        names += [f"{key}.{name}" for name in inner] or [key]
    return names


def _build(cls: type[T], values: Any, prefix: str) -> T:
    hints = typing.get_type_hints(cls)
    if not isinstance(values, dict):
        raise UsageError(f"{prefix or 'the recipe'} is {values!r}, an object was expected")
    built = {}
    for key, value in values.items():
        if key not in hints:
            raise UnknownNameError("setting", prefix + key, [prefix + name for name in hints])
        built[key] = _convert(value, hints[key], prefix + key)
    try:
        return cls(**built)
    except TypeError as error:
        raise UsageError(f"the recipe is incomplete: {error}") from error


def _convert(value: Any, kind: Any, name: str) -> Any:
    """``value`` as the annotated type, whole numbers widened to float; else ``UsageError``."""
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return _build(kind, value, name + ".")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), name)
    if origin is tuple and isinstance(value, list | tuple):
        fixed = arguments[-1] is not Ellipsis
        if not fixed or len(value) == len(arguments):
            return tuple(_convert(v, arguments[0], name) for v in value)
    if kind is float and type(value) in (int, float):
        return float(value)
    plain = dict if origin is dict else kind
    if isinstance(plain, type) and type(value) is plain and origin is not tuple:
        return value
    shown = kind.__name__ if isinstance(kind, type) and origin is None else str(kind)
    raise UsageError(f"{name} is {value!r}, expected {shown}")
