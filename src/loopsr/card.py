"""What a weight file says of itself.

The same card travels as JSON in the metadata of the safetensors file and of its ONNX twin, so that
a file is enough to run, tile, name and credit a model.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from loopsr.errors import WeightsError

CARD_KEY = "loopsr.card"  # metadata key, in safetensors and in ONNX
MAX_CARD_BYTES = 64 * 1024
FAST_LOSS = 0.3  # dB that --quality fast may lose to all steps of a network
_CELLS = range(8, 257)  # input pixels


@dataclass(frozen=True, kw_only=True)
class StepRule:
    """At which step a piece of a picture may stop.

    ``cell`` is the side of a piece in input pixels. One with less detail than ``thresholds[i]``
    (see ``loopsr.engine.detail``) stops at step ``stops[i]``, else at the last of them; 0 is
    bicubic, of the input as ``loopsr.ops.enlarge.sharpened`` by the weights ``sharpen``.
    """

    cell: int
    stops: tuple[int, ...]
    thresholds: tuple[float, ...]
    sharpen: tuple[float, ...] = ()

    def up_to(self, iters: int) -> StepRule | None:
        """The same with no more than ``iters`` steps; None when there is nothing to choose."""
        stops = tuple(stop for stop in self.stops if stop <= iters)
        if len(stops) < 2:
            return None
        thresholds = self.thresholds[: len(stops) - 1]
        return dataclasses.replace(self, stops=stops, thresholds=thresholds)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Facts of one set of weights.

    ``halo`` is in input pixels on each side (None: global), ``macs_per_pixel`` counts
    multiply-accumulates an *input* pixel, ``scores`` maps a benchmark to its measured figures, as
    in ``{"Set5": {"psnr_y": 31.2, "ssim_y": 0.88}}``; what was not measured is absent.
    ``measured`` is the time and memory of one run, as ``benchmarks/cards.py`` writes it.
    """

    name: str  # network[-variant]-xN[.tag]
    network: str  # key of loopsr.models.NETWORKS
    config: dict[str, Any]  # keyword arguments of the network
    scale: int
    halo: int | None
    parameters: int
    multiple_of: int = 1
    iters: int | None = None
    macs_per_pixel: int | None = None
    # What each step adds to `halo` and `macs_per_pixel`; None where that is not known.
    halo_per_step: int | None = None
    macs_per_step: int | None = None
    description: str = ""
    licence: str = "Apache-2.0"
    paper: str = ""
    degradation: str = "bicubic"
    data: str = ""  # training pictures with their licences
    training: dict[str, Any] = field(default_factory=dict)  # recipe, steps, seconds, machine
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    # What `loopsr.export.calibrate` found on training pictures: "psnr", in dB after each step, and
    # a ``StepRule`` ("cell", "stops", "thresholds", "sharpen") with what it costs ("loss", in dB)
    # and takes ("mean", steps). Without it a network runs all its steps everywhere.
    steps: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The card as one JSON object with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Parse and check a card. Raises ``WeightsError`` for anything that is not one."""
        if len(text) > MAX_CARD_BYTES:
            raise WeightsError(
                f"the model card has {len(text)} characters, at most {MAX_CARD_BYTES} are read; "
                "fetch the weight file again"
            )
        try:
            values = json.loads(text)
            card = cls(**values)
        except (ValueError, TypeError, RecursionError) as error:
            raise WeightsError(
                f"the model card cannot be read ({error}); fetch the weight file again"
            ) from error
        card._check()
        return card

    def stopped_after(self, iters: int | None) -> ModelCard:
        """The card of the same network when it stops after ``iters`` steps (None: all)."""
        if iters is None or self.iters is None or iters == self.iters:
            return self
        less = self.iters - iters
        halo, macs = self.halo, self.macs_per_pixel
        if halo is not None and self.halo_per_step is not None:
            halo = max(0, halo - less * self.halo_per_step)
        if macs is not None and self.macs_per_step is not None:
            macs = max(0, macs - less * self.macs_per_step)
        return dataclasses.replace(self, iters=iters, halo=halo, macs_per_pixel=macs)

    @property
    def rule(self) -> StepRule | None:
        """When pieces of a picture may stop; None for a network that is not calibrated."""
        if "thresholds" not in self.steps or self.halo_per_step is None or self.halo is None:
            return None
        rule = StepRule(
            cell=self.steps["cell"],
            stops=tuple(self.steps["stops"]),
            thresholds=tuple(self.steps["thresholds"]),
            sharpen=tuple(self.steps.get("sharpen", ())),
        )
        return rule.up_to(self.iters or 1)

    @property
    def fewest_steps(self) -> int | None:
        """The fewest steps that lose no more than ``FAST_LOSS`` to the best; None: not known."""
        figures = self.steps.get("psnr")
        if not figures:
            return None
        enough = max(figures) - FAST_LOSS
        return min(self.iters or 1, 1 + next(i for i, db in enumerate(figures) if db >= enough))

    def _check(self) -> None:
        whole = {
            "scale": self.scale,
            "multiple_of": self.multiple_of,
            "parameters": self.parameters,
        }
        optional = ("halo", "halo_per_step", "macs_per_step", "macs_per_pixel", "iters")
        whole |= {key: value for key in optional if (value := getattr(self, key)) is not None}
        for key, value in whole.items():
            least = 1 if key in ("scale", "multiple_of", "iters") else 0
            if type(value) is not int or value < least:
                raise WeightsError(
                    f"the model card has {key} = {value!r}, a whole number was expected; "
                    "fetch the weight file again"
                )
        limits = {"scale": 16, "multiple_of": 256, "halo": 1024, "iters": 1024}
        for key, most in limits.items():
            if whole.get(key, 0) > most:
                raise WeightsError(
                    f"the model card has {key} = {whole[key]}, at most {most} is accepted; "
                    "fetch the weight file again"
                )
        for name in ("name", "network", "description", "licence", "paper", "degradation", "data"):
            if not isinstance(getattr(self, name), str):
                raise WeightsError(f"the model card has no text in {name!r}; fetch the file again")
        if not isinstance(self.config, dict):
            raise WeightsError("the model card has no config object; fetch the weight file again")
        if not isinstance(self.measured, dict):
            raise WeightsError("the model card has measured no object; fetch the file again")
        if not isinstance(self.scores, dict) or not all(map(_is_score, self.scores.values())):
            raise WeightsError("the model card has a score that is no number; fetch it again")
        if not _is_steps(self.steps, self.iters or 1):
            raise WeightsError("the model card has steps that make no sense; fetch it again")


def _is_score(score: object) -> bool:
    return isinstance(score, dict) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in score.values()
    )


def _is_steps(steps: object, iters: int) -> bool:
    """Whether ``steps`` is empty or what ``ModelCard.steps`` says."""
    if not isinstance(steps, dict):
        return False
    figures = steps.get("psnr", [])
    if not (isinstance(figures, list) and all(map(_is_number, figures))):
        return False
    if "thresholds" not in steps:
        return True
    cell, stops, thresholds = (steps.get(key) for key in ("cell", "stops", "thresholds"))
    if not (type(cell) is int and cell in _CELLS):
        return False
    if not (isinstance(stops, list) and isinstance(thresholds, list)):
        return False
    if not (all(type(stop) is int for stop in stops) and all(map(_is_number, thresholds))):
        return False
    if len(stops) != len(thresholds) + 1 or thresholds != sorted(thresholds):
        return False
    if not _is_sharpen(steps.get("sharpen", [])):
        return False
    return stops == sorted(set(stops)) and stops[0] >= 0 and stops[-1] <= iters


def _is_sharpen(weights: object) -> bool:
    """Whether they are none or five, each within -1 to 1."""
    return (
        isinstance(weights, list)
        and len(weights) in (0, 5)
        and all(_is_number(weight) and abs(weight) <= 1 for weight in weights)
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
