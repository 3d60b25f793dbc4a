"""Where results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopsr.apps.batch.inputs import Source
from loopsr.apps.batch.jobs import (
    Job,
    check_clashes,
    is_counted,
    is_folder,
    plan_jobs,
    rename_jobs,
)
from loopsr.apps.batch.names import DEFAULT, parse_template
from loopsr.apps.batch.settings import Size
from loopsr.errors import UsageError


def planned(
    *sources: str | Source,
    output: str | None = None,
    format: str | None = None,
    template: str = DEFAULT,
) -> list[Job]:
    size = Size(scale=4.0)
    return plan_jobs(
        [source if isinstance(source, Source) else Source(source) for source in sources],
        output=output,
        folder=is_folder(output, several=len(sources) > 1),
        template=parse_template(template, size),
        format=format,
    )


def targets(*sources: str, output: str | None = None, format: str | None = None) -> list[str]:
    jobs = planned(*sources, output=output, format=format)
    check_clashes(jobs)
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


def test_labels() -> None:
    sizes = (
        Size(scale=4.0),
        Size(scale=1.5),
        Size(width=9),
        Size(height=8),
        Size(width=9, height=8),
        Size(long_edge=7),
    )
    assert [size.label() for size in sizes] == ["x4", "x1.5", "w9", "h8", "9x8", "long7"]


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
    jobs = planned("a/p.png", "b/p.png")
    assert jobs == [Job("a/p.png", "a/p_x4.png"), Job("b/p.png", "b/p_x4.png")]
    check_clashes(jobs)


def test_trees_are_mirrored() -> None:
    jobs = planned(Source("in/p.png"), Source("in/deep/er/p.jpg", "deep/er"), output="out")
    assert jobs == [
        Job("in/p.png", "out/p_x4.png", "p_x4.png"),
        Job("in/deep/er/p.jpg", "out/deep/er/p_x4.jpg", "deep/er/p_x4.jpg"),
    ]
    check_clashes(jobs)
    assert planned("a.png", "b.png", output="s3://bucket/out/")[0].target == (
        "s3://bucket/out/a_x4.png"
    )


def renamed(jobs: list[Job], earlier: dict[str, Job] | None = None) -> list[str]:
    found = rename_jobs(jobs, lambda job: (earlier or {}).get(job.source))
    return [job.target for job in found]


def test_renaming(tmp_path: Path) -> None:
    out = str(tmp_path)
    jobs = planned("a/p.png", "b/p.png", "c/p.png", "p_x4.png", output=out)
    assert renamed(jobs) == [f"{out}/{n}" for n in ("p_x4.png", "p_x4-2.png", "p_x4-3.png")] + [
        f"{out}/p_x4_x4.png"
    ]
    (tmp_path / "p_x4.png").touch()
    (tmp_path / "p_x4-3.png").symlink_to("nowhere")
    assert renamed(jobs[:2]) == [f"{out}/p_x4-2.png", f"{out}/p_x4-4.png"]
    # What an earlier run named keeps its name, whoever comes before it now.
    earlier = {"c/p.png": Job("c/p.png", f"{out}/p_x4-2.png", "p_x4-2.png")}
    assert renamed(jobs[:3], earlier) == [
        f"{out}/{n}" for n in ("p_x4-4.png", "p_x4-5.png", "p_x4-2.png")
    ]
    # The input itself counts as taken.
    (tmp_path / "p.png").touch()
    assert renamed([Job(f"{out}/p.png", f"{out}/p.png")]) == [f"{out}/p-2.png"]


def test_names_that_renaming_gives() -> None:
    assert is_counted("d/p_x4.png", "d/p_x4.png")
    assert is_counted("d/p_x4-12.png", "d/p_x4.png")
    for other in ("p_x4-2.png", "d/p_x4-02.png", "d/p_x4-2.jpg", "d/p_x4-2.png/../../q.png"):
        assert not is_counted(other, "d/p_x4.png")


def test_what_upscale_says_without_importing_is_true() -> None:
    from loopsr.cli import upscale
    from loopsr.engine.plan import MAX_SCALE
    from loopsr.io.formats import FORMATS

    assert upscale._MAX_SCALE == MAX_SCALE
    assert upscale._FORMATS.replace(" or ", ", ").split(", ") == list(FORMATS)
