"""The fastest backend is taken, by measurement, where the picture stays; figures are kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopsr import Upscaler
from loopsr.engine import cache, choice
from loopsr.engine.choice import Candidate, candidates, choose, decide, worth_measuring
from loopsr.errors import MissingExtraError, UnknownNameError, UsageError
from loopsr.weights import catalogue

FIRST = Candidate("onnxruntime", "float32")
OTHER = Candidate("openvino", "float32")
SHORT = Candidate("openvino", "bfloat16")
INTEGERS = Candidate("onnxruntime", "int8")


def row(candidate: Candidate, milliseconds: float, **facts: Any) -> dict[str, Any]:
    figures = {"milliseconds": milliseconds, "largest": 0.0, "rms": 0.0, "error": None}
    return {**candidate._asdict(), **figures, **facts}


def test_the_fastest_is_taken_when_it_saves_a_tenth() -> None:
    assert decide([row(FIRST, 100), row(OTHER, 89)], FIRST) == OTHER
    assert decide([row(FIRST, 100), row(OTHER, 91)], FIRST) == FIRST
    assert decide([row(FIRST, 100), row(OTHER, 50), row(SHORT, 20)], FIRST) == SHORT


def test_where_steps_are_taken_by_need_it_must_save_more(
    files: dict[Candidate, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert decide([row(FIRST, 100), row(OTHER, 61)], FIRST, gain=choice.STEPS_GAIN) == FIRST
    assert decide([row(FIRST, 100), row(OTHER, 59)], FIRST, gain=choice.STEPS_GAIN) == OTHER
    card = catalogue.card("loop-x2")
    monkeypatch.setattr(choice, "_measured", lambda *_: [row(FIRST, 100), row(OTHER, 61)])
    assert choose(card, files, threads=1, measure=True)[0] == OTHER
    assert choose(card, files, threads=1, by_need=True)[0] == FIRST
    # A first one that cannot take steps by need has nothing that would be lost.
    rest = {OTHER: files[OTHER], Candidate("ncnn", "float32"): files[OTHER]}
    monkeypatch.setattr(choice, "_measured", lambda *_: [row(OTHER, 100), row(list(rest)[1], 80)])
    assert choose(card, rest, threads=1, measure=True, by_need=True)[0].backend == "ncnn"


def test_what_would_show_is_not_taken() -> None:
    shows = [row(SHORT, 1, rms=1.01 * choice.MOST_RMS)]
    shows += [row(SHORT, 1, largest=1.01 * choice.MOST_DIFFERENCE)]
    for bad in shows:
        assert decide([row(FIRST, 100), bad], FIRST) == FIRST
    fine = row(SHORT, 1, rms=choice.MOST_RMS, largest=choice.MOST_DIFFERENCE)
    assert decide([row(FIRST, 100), fine], FIRST) == SHORT


def test_what_fails_is_not_taken() -> None:
    failed = {**OTHER._asdict(), "error": "no such thing"}
    assert decide([row(FIRST, 100), failed], FIRST) == FIRST
    assert decide([{**FIRST._asdict(), "error": "broken"}, row(OTHER, 100)], FIRST) == OTHER
    assert decide([failed], FIRST) == FIRST
    assert decide([], FIRST) == FIRST


def test_candidates() -> None:
    assert candidates()[0] == FIRST
    assert all(c.precision == "float32" for c in candidates(precision="float32"))
    assert {c.backend for c in candidates(precision="bfloat16")} == {"openvino", "torch"}
    assert candidates("openvino") == [OTHER, SHORT, Candidate("openvino", "int8")]
    assert candidates(kinds=["onnxruntime"]) == [FIRST, INTEGERS]
    assert {c.backend for c in candidates(precision="int8")} == {"onnxruntime", "openvino"}
    with pytest.raises(MissingExtraError, match=r"loopsr\[openvino\]"):
        candidates(precision="bfloat16", kinds=["onnxruntime"])


def test_small_work_is_not_worth_it() -> None:
    assert not worth_measuring(1e10, threads=2)
    assert worth_measuring(1e13, threads=2)
    assert not worth_measuring(1e12, threads=16)


@pytest.fixture
def files(weights: Path) -> dict[Candidate, Path]:
    return dict.fromkeys((FIRST, OTHER, Candidate("ncnn", "float32")), weights / "loop-x2.onnx")


def test_measured_once_and_kept(files: dict[Candidate, Path]) -> None:
    card = catalogue.card("loop-x2")
    assert choose(card, files, threads=1) == (FIRST, [])
    assert not cache.cache_file().exists()
    taken, rows = choose(card, files, threads=1, measure=True)
    assert [(r["backend"], r["error"]) for r in rows] == [(c.backend, None) for c in files]
    assert all(r["milliseconds"] > 0 and r["largest"] < 1e-4 for r in rows)
    assert taken == decide(rows, FIRST)
    # From now on without measuring; figures changed by hand show where they come from.
    known = json.loads(cache.cache_file().read_text())
    (key,) = known
    for number, known_row in enumerate(known[key]):
        known_row["milliseconds"] = 100 - 20 * number
    cache.cache_file().write_text(json.dumps(known))
    assert choose(card, files, threads=1)[0].backend == "ncnn"
    assert choose(card, files, threads=2) == (FIRST, [])  # of another number nothing is known
    assert choose(card, dict(list(files.items())[:1]), threads=1) == (FIRST, [])


def test_a_cache_that_is_no_use(
    files: dict[Candidate, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = catalogue.card("loop-x2")
    monkeypatch.setattr(choice, "_measured", lambda *_: [row(FIRST, 9), row(OTHER, 1)])
    for content in (b"", b"[]", b"{", b"\xff\xfe"):
        cache.cache_file().parent.mkdir(exist_ok=True)
        cache.cache_file().write_bytes(content)
        assert choose(card, files, threads=1) == (FIRST, [])
        assert choose(card, files, threads=1, measure=True)[0] == OTHER
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOOPSR_CACHE", str(tmp_path / "file" / "inside"))
    assert choose(card, files, threads=1, measure=True)[0] == OTHER
    assert not list(tmp_path.glob("**/.backends*"))


def test_a_measurement_that_dies(
    files: dict[Candidate, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice.sys, "executable", "/no/such/python")
    card = catalogue.card("loop-x2")
    assert choose(card, files, threads=1, measure=True) == (FIRST, [])
    assert not cache.cache_file().exists()


def test_precisions_of_an_upscaler(weights: Path, photo: Any) -> None:
    image = photo(20, 24)
    exact = Upscaler(threads=1)(image, scale=2)
    short = Upscaler(threads=1, backend="torch", precision="bfloat16")(image, scale=2)
    assert 1e-5 < abs(short - exact).max() < 0.1
    with pytest.raises(UsageError, match="pass --backend openvino or torch"):
        Upscaler(backend="onnxruntime", precision="bfloat16")
    with pytest.raises(UnknownNameError, match="did you mean float32"):
        Upscaler(precision="float23")
    with pytest.raises(UsageError, match="no file with 8-bit integers"):
        Upscaler("loop-x2", precision="int8")


@pytest.fixture
def with_twin(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """(scores of `loop-x2`, scores of its twin) -> a catalogue; the twin is only called so."""

    def make(own: dict[str, float], twins: dict[str, float]) -> Path:
        from loopsr.export.package import rewrite_card

        for path in weights.glob("*.*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        for name, scores in (("loop-x2.int8", twins), ("loop-x2", own)):
            shutil.copy(weights / "loop-x2.onnx", tmp_path / f"{name}.onnx")
            found = {key: {"psnr_y": value} for key, value in scores.items()}
            card = dataclasses.replace(catalogue.card("loop-x2"), name=name, scores=found)
            rewrite_card(tmp_path, card)
        catalogue.write_index(tmp_path)
        monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("twins", "taken"),
    [
        ({"Set5": 36.95}, True),
        ({"Set5": 36.94}, False),
        ({"Set5": 37.1, "BSD100": 31.9}, False),
        ({"Set14": 33.0}, False),
        ({}, False),
    ],
)
def test_the_twin_is_a_candidate_where_its_card_says_that_it_keeps_the_picture(
    with_twin: Callable[..., Path], twins: dict[str, float], taken: bool
) -> None:
    folder = with_twin({"Set5": 37.0, "BSD100": 32.0}, twins)
    networks = Upscaler("loop-x2", threads=1)._networks
    ways = networks._ways("loop-x2", fine=False)
    assert (INTEGERS in ways) == taken
    assert ways[FIRST] == folder / "loop-x2.onnx"
    if taken:
        assert ways[INTEGERS] == folder / "loop-x2.int8.onnx"
    assert INTEGERS not in networks._ways("loop-x2", fine=True)


def test_integers_on_demand(with_twin: Callable[..., Path], photo: Any) -> None:
    folder = with_twin({}, {})
    for asked in (
        {"model": "loop-x2", "precision": "int8"},
        {"model": "loop-x2.int8"},
        {"model": "loop-x2.int8", "precision": "int8", "backend": "openvino"},
        {"model": folder / "loop-x2.int8.onnx"},
        {"model": str(folder / "loop-x2.int8.onnx"), "precision": "int8"},
    ):
        upscaler = Upscaler(threads=1, **asked)
        assert upscaler(photo(8, 9), scale=2).shape == (16, 18, 3)
        networks = upscaler._networks
        card = networks.card(str(asked["model"]))
        assert card.name == "loop-x2.int8"
        ((*_, candidate),) = networks._open
        assert candidate == (asked.get("backend", "onnxruntime"), "int8")
        deep = networks._ways(networks._names[card.name], fine=True)
        assert {c.precision for c in deep} == {"int8"}  # asked for by name: it is what runs
    for refused in ("float32", "bfloat16"):
        with pytest.raises(UsageError, match="computes in 8-bit integers"):
            Upscaler("loop-x2.int8", precision=refused)
    with pytest.raises(UsageError, match="no layers of 8-bit integers"):
        Upscaler(folder / "loop-x2.onnx", precision="int8")
    for asked in ({"model": "loop-x2", "precision": "int8"}, {"model": "loop-x2.int8"}):
        with pytest.raises(UsageError, match="pass --backend onnxruntime or openvino"):
            Upscaler(**asked, backend="ncnn")


def test_a_picture_that_is_none_is_not_taken_in_integers() -> None:
    rows = [row(FIRST, 9), row(INTEGERS, 1) | {"rms": 0.02, "largest": 0.5}]
    assert decide(rows, FIRST) == INTEGERS
    rows[1]["rms"] = 0.05
    assert decide(rows, FIRST) == FIRST


def test_deep_pictures_are_computed_in_float32(weights: Path, photo: Any) -> None:
    """Whatever is fastest: bfloat16 keeps 8 bits, a 16-bit picture has more."""
    upscaler = Upscaler("loop-x2", threads=1)
    card = catalogue.card("loop-x2")
    networks = upscaler._networks
    ways = {fine: networks._ways(card.name, fine=fine) for fine in (False, True)}
    assert SHORT in ways[False]
    assert {c.precision for c in ways[True]} == {"float32"}


def test_steps_of_an_upscaler(weights: Path) -> None:
    assert Upscaler("loop-x2", iters=1).plan((10, 10)).stages[0].card.iters == 1
    with pytest.raises(UsageError, match="runs 1 to 1"):
        Upscaler("loop-x2", iters=2)
    with pytest.raises(UsageError, match="iters is 0"):
        Upscaler(iters=0)
