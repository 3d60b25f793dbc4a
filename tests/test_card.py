"""Cards survive the round trip, and nothing that is no card passes."""

from __future__ import annotations

import dataclasses
import json

import pytest

from loopsr.card import MAX_CARD_BYTES, ModelCard
from loopsr.errors import WeightsError

CARD = ModelCard(
    name="loop-x2",
    network="loop",
    config={"scale": 2},
    scale=2,
    halo=12,
    parameters=51_000,
    scores={"Set5": {"psnr_y": 37.2}},
)


def test_round_trip() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "x"}', "[" * 5000])
def test_text_that_is_no_card(text: str) -> None:
    with pytest.raises(WeightsError, match="model card"):
        ModelCard.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0},
        {"measured": [1]},
        {"scale": "2"},
        {"scale": True},
        {"scale": 10**9},
        {"halo": -1},
        {"halo": 10**6},
        {"multiple_of": 0},
        {"parameters": 1.5},
        {"name": 3},
        {"config": []},
        {"scores": {"Set5": {"psnr_y": float("nan")}}},
        {"scores": [1]},
        {"scores": {"Set5": 37.2}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_values_out_of_range(change: dict) -> None:
    values = dataclasses.asdict(CARD) | change
    with pytest.raises(WeightsError):
        ModelCard.from_json(json.dumps(values))


def test_a_huge_card_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(WeightsError, match=str(MAX_CARD_BYTES)):
        ModelCard.from_json(" " * (MAX_CARD_BYTES + 1))
