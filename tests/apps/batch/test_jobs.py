"""Where results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopsr.apps.batch.jobs import Job, plan_jobs
from loopsr.apps.batch.settings import Size
from loopsr.errors import UsageError


def targets(*sources: str, output: str | None = None, format: str | None = None) -> list[str]:
    jobs = plan_jobs(sources, output=output, suffix="_x4", format=format)
    return [job.target for job in jobs]


def test_names() -> None:
    assert targets("a/b.jpg") == ["a/b_x4.jpg"]
    assert targets("b.JPG", "c.tar.png") == ["b_x4.JPG", "c.tar_x4.png"]
    assert targets("b.jpg", format="webp") == ["b_x4.webp"]
    assert targets("b.bmp") == ["b_x4.png"]
    assert targets("b") == ["b_x4.png"]


def test_output(tmp_path: Path) -> None:
    assert targets("a.jpg", output="b.png") == ["b.png"]
    assert targets("d/a.jpg", output="out/") == ["out/a_x4.jpg"]
    assert targets("d/a.jpg", output=str(tmp_path)) == [str(tmp_path / "a_x4.jpg")]
    assert targets("a.jpg", "b.jpg", output="out") == ["out/a_x4.jpg", "out/b_x4.jpg"]
    assert targets("-", output="-") == ["-"]
    assert targets("-", output="a.png") == ["a.png"]


def test_suffixes() -> None:
    sizes = (
        Size(scale=4.0),
        Size(scale=1.5),
        Size(width=9),
        Size(height=8),
        Size(width=9, height=8),
        Size(long_edge=7),
    )
    assert [size.suffix() for size in sizes] == ["_x4", "_x1.5", "_w9", "_h8", "_9x8", "_long7"]


def test_clashes_are_found_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would both become"):
        targets("a/p.png", "b/p.png", output="out/")
    with pytest.raises(UsageError, match="would both become"):
        targets("p.jpg", "p.png", format="webp")
    with pytest.raises(UsageError, match="never overwritten"):
        targets("p.png", "p_x4.png")
    (tmp_path / "p.png").touch()
    (tmp_path / "link.png").symlink_to("p.png")
    with pytest.raises(UsageError, match="never overwritten"):
        targets(str(tmp_path / "p.png"), output=str(tmp_path / "link.png"))
    with pytest.raises(UsageError, match="need a folder"):
        targets("a.png", "b.png", output=str(tmp_path / "p.png"))


def test_no_clash_is_found_where_there_is_none() -> None:
    jobs = plan_jobs(["a/p.png", "b/p.png"], output=None, suffix="_x2", format=None)
    assert jobs == [Job("a/p.png", "a/p_x2.png"), Job("b/p.png", "b/p_x2.png")]


def test_what_upscale_says_without_importing_is_true() -> None:
    from loopsr.cli import upscale
    from loopsr.engine.plan import MAX_SCALE
    from loopsr.io.formats import FORMATS

    assert upscale._MAX_SCALE == MAX_SCALE
    assert upscale._FORMATS.replace(" or ", ", ").split(", ") == list(FORMATS)
