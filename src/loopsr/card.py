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


def _is_score(score: object) -> bool:
    return isinstance(score, dict) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in score.values()
    )
