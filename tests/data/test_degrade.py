"""Degradations: shapes, types, seeds; and the random fate of a photograph."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from loopsr.data import degrade as module
from loopsr.data.degrade import PIPELINES, STEPS, degrade, describe, draw_photo, pipeline
from loopsr.data.sources import find_pictures, load_pairs
from loopsr.ops.resize import resize

SAMPLES: dict[str, dict[str, object]] = {
    "bicubic": {},
    "blur": {"sigma": 1.0, "ratio": 0.5, "angle": 1.0},
    "jpeg": {"quality": 60, "subsample": True},
    "noise": {"sigma": 3.0, "grey": False},
    "photo": pipeline("photo")[0][1] | {"clean": 0.0},
    "resize": {"kernel": "box"},
    "shot": {"peak": 300.0},
}


def picture(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3 % 256, y * 5 % 256, (x * y) % 256], -1).astype(np.uint8)


def fate(seed: int, scale: int = 2, **changes: object) -> tuple[tuple[str, dict[str, object]], ...]:
    ranges = pipeline("photo")[0][1] | changes
    return draw_photo(scale=scale, rng=np.random.default_rng(seed), **ranges)


def test_every_step_has_a_sample() -> None:
    assert SAMPLES.keys() == STEPS.keys()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("scale", [2, 4])
def test_a_step_keeps_its_promises(name: str, scale: int) -> None:
    image = picture()
    before = image.copy()
    results = [
        STEPS[name](image, scale, np.random.default_rng(seed), **SAMPLES[name])
        for seed in (1, 1, 2)
    ]
    reduced = name in ("bicubic", "photo", "resize")
    shape = (48 // scale, 64 // scale, 3) if reduced else image.shape
    assert [(r.dtype, r.shape) for r in results] == [(np.uint8, shape)] * 3
    assert np.array_equal(results[0], results[1])
    random = name in ("noise", "photo", "shot")
    assert np.array_equal(results[0], results[2]) != random
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pipelines_reduce_any_size(name: str, scale: int) -> None:
    steps = pipeline(name)
    for seed in range(12):
        for height, width in ((1, 1), (3, 9)):
            image = picture(height * scale, width * scale)
            lr = degrade(image, scale=scale, steps=steps, rng=np.random.default_rng(seed))
            assert (lr.dtype, lr.shape) == (np.uint8, (height, width, 3))


def test_pipelines_are_plain_data() -> None:
    for steps in PIPELINES.values():
        assert json.loads(json.dumps(steps)) == [list(step) for step in steps]
    assert describe(pipeline("photo")).startswith("photo(clean=0.5, blur=[0.1, 0.7], ")


def test_fates_are_as_varied_as_promised() -> None:
    fates = [fate(seed) for seed in range(4000)]
    clean = [f for f in fates if f == (("bicubic", {}),)]
    assert len(clean) / 4000 == pytest.approx(0.5, abs=0.04)
    spoilt = [[name for name, _ in f] for f in fates if f not in clean]
    assert all(names.count("resize") == 1 for names in spoilt)
    seen = Counter(name for names in spoilt for name in set(names))
    share = {name: count / len(spoilt) for name, count in seen.items()}
    assert share["blur"] == pytest.approx(0.5, abs=0.06)
    assert share["noise"] + share["shot"] == pytest.approx(0.4, abs=0.06)
    assert share["jpeg"] == pytest.approx(0.75, abs=0.06)
    # Moved to the end, or there by chance: 1 of K + 1, K = 1, 2, 3 others with 0.3, 0.5, 0.2.
    by_chance = 0.3 / 2 + 0.5 / 3 + 0.2 / 4
    last = sum(names[-1] == "jpeg" for names in spoilt) / len(spoilt)
    assert last == pytest.approx(0.75 * (0.5 + 0.5 * by_chance), abs=0.05)
    kinds = [["noise" if name == "shot" else name for name in names] for names in spoilt]
    orders = {tuple(names) for names in kinds if len(names) == 4}
    assert len(orders) == 24
    quality = [v["quality"] for f in fates for name, v in f if name == "jpeg"]
    assert (min(quality), max(quality)) == (35, 95)
    kernels = {v["kernel"] for f in fates for name, v in f if name == "resize"}
    assert kernels == {"bicubic", "bilinear", "box", "lanczos"}


def test_almost_half_of_the_fates_at_x4_are_jpeg_alone() -> None:
    ranges = pipeline("photo_x4")[0][1]
    assert ranges["saved"] == 0.45
    fates = [draw_photo(scale=4, rng=np.random.default_rng(seed), **ranges) for seed in range(2000)]
    saved = [f for f in fates if [name for name, _ in f] == ["bicubic", "jpeg"]]
    assert len(saved) / 2000 == pytest.approx(0.45, abs=0.04)
    assert sum(f == (("bicubic", {}),) for f in fates) / 2000 == pytest.approx(0.2, abs=0.04)
    quality = [f[1][1]["quality"] for f in saved]
    assert (min(quality), max(quality)) == (35, 95)


def test_a_fate_can_be_printed_and_repeated() -> None:
    assert fate(7) == fate(7)
    assert fate(7) != fate(8)
    text = describe(fate(1))
    assert text.count(" > ") == len(fate(1)) - 1
    steps, image = fate(1), picture()
    drawn = [degrade(image, scale=2, steps=steps, rng=np.random.default_rng(3)) for _ in "ab"]
    assert np.array_equal(*drawn)


def test_before_the_resize_blur_and_noise_are_stronger() -> None:
    """So that they come out alike: without it, x4 would hardly show what x1 shows."""
    strongest: dict[tuple[str, bool], float] = {}
    for seed in range(2000):
        reduced = False
        for name, values in fate(seed, scale=4):
            if name in ("blur", "noise"):
                key = (name, reduced)
                strongest[key] = max(strongest.get(key, 0), float(str(values["sigma"])))
            reduced |= name == "resize"
    assert strongest["blur", False] == pytest.approx(4 * 0.7, rel=0.05)
    assert strongest["blur", True] == pytest.approx(0.7, rel=0.05)
    assert strongest["noise", False] == pytest.approx(4 * 8, rel=0.1)
    assert strongest["noise", True] == pytest.approx(8, rel=0.1)


def save(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        image = pyvips.Image.new_from_array(picture(20 + 4 * i, 32))
        image.write_to_file(str(folder / name))
    return find_pictures([folder])


def test_variants_of_a_picture_share_its_sharp_one(tmp_path: Path) -> None:
    files = save(tmp_path / "a", "x.png", "y.png")
    steps = pipeline("photo")
    pairs = load_pairs(files, scale=4, steps=steps, variants=12, cache=tmp_path / "c")
    assert pairs.names == ("x.png",) * 12 + ("y.png",) * 12
    assert len({id(hr) for hr in pairs.hr}) == 2
    assert [lr.shape for lr in pairs.lr] == [(5, 8, 3)] * 12 + [(6, 8, 3)] * 12
    assert len({lr.tobytes() for lr in pairs.lr}) > 12  # the clean ones of a picture are alike
    for lr, hr in zip(pairs.lr, pairs.hr, strict=True):
        assert np.abs(lr.astype(int) - resize(hr, scale=1 / 4)).mean() < 60  # the same picture
    # Whatever lies beside a picture, and however many variants there are, each stays the same.
    alone = load_pairs(files[1:], scale=4, steps=steps, variants=2, cache=tmp_path / "c")
    assert all(np.array_equal(a, b) for a, b in zip(alone.lr, pairs.lr[12:14], strict=True))


def test_one_variant_keeps_the_cache_of_older_versions(tmp_path: Path) -> None:
    files = save(tmp_path / "a", "x.png")
    keys = [
        load_pairs(files, scale=2, steps=pipeline("bicubic"), cache=tmp_path / "c", **more).key
        for more in ({}, {"variants": 1}, {"variants": 2})
    ]
    assert keys[0] == keys[1] != keys[2]


def test_control_a_step_that_forgets_its_seed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (("noise", {"sigma": 3.0, "grey": False}),)
    fresh = np.random.default_rng(5)
    monkeypatch.setattr(
        module, "gaussian_noise", lambda image, rng, **o: fresh.integers(0, 255, image.shape)
    )
    drawn = [degrade(picture(), scale=2, steps=steps, rng=np.random.default_rng(1)) for _ in "ab"]
    assert not np.array_equal(*drawn)
