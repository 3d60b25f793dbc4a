"""What a run logs can be read in TensorBoard and seen in a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import pyvips

from loopsr.errors import MissingExtraError, TrainingError, UsageError
from loopsr.train.board import SCALARS, board
from loopsr.train.loop import train
from loopsr.train.plot import _names, plot
from loopsr.train.recipe import Recipe

RECIPE = Recipe(
    name="loop-x2",
    network="loop",
    network_config={"width": 4, "own": 0, "depth": 1, "iters": 1},
    scale=2,
    steps=6,
    batch=2,
    patch=8,
    validate_every=2,
)


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from the files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def line(step: int, **values: float) -> dict[str, float]:
    return {"step": step, "seconds": 2.0 * step} | dict.fromkeys(SCALARS, 1.0) | values


def write_log(folder: Path, *lines: dict[str, float]) -> Path:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return folder


def test_event_files_hold_what_the_log_holds(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with board(out / "tensorboard") as report:
        train(RECIPE, hr=[pictures], out=out, threads=1, device="cpu", report=report)
    lines = [json.loads(x) for x in (out / "log.jsonl").read_text().splitlines()]
    events = read_events(out / "tensorboard")
    assert events.keys() == set(SCALARS)
    for key, points in events.items():
        assert [step for step, _ in points] == [2, 4, 6]
        assert [value for _, value in points] == pytest.approx([x[key] for x in lines], rel=1e-6)


def test_events_that_a_kill_undid_are_hidden(tmp_path: Path) -> None:
    for steps in ([10, 20, 30], [20, 30]):  # gone back to a checkpoint of step 15
        with board(tmp_path) as report:
            for step in steps:
                report(line(step, loss=len(steps)))
    assert read_events(tmp_path)["loss"] == [(10, 3.0), (20, 2.0), (30, 2.0)]


def test_a_board_that_gets_no_line_writes_no_file(tmp_path: Path) -> None:
    with board(tmp_path / "tensorboard"):
        pass
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_of_several_runs(tmp_path: Path, suffix: str) -> None:
    one = write_log(tmp_path / "one", *(line(s, psnr_y=30 + s / 100) for s in range(10, 90, 10)))
    two = write_log(tmp_path / "two", line(10), line(20, psnr_y=float("nan")), line(30))
    target = tmp_path / f"plot{suffix}"
    plot([one, two / "log.jsonl"], target)
    picture = pyvips.Image.new_from_file(str(target))
    assert picture.width > 800
    assert picture.height > 500
    if suffix == ".svg":
        assert target.read_text().count("<!-- two -->") == 1  # matplotlib's comment on each text
        assert "thousand steps" in target.read_text()


def test_a_log_with_a_line_cut_by_a_kill_can_be_plotted(tmp_path: Path) -> None:
    run = write_log(tmp_path / "one", line(10), line(20))
    log = run / "log.jsonl"
    log.write_text(log.read_text()[:-9])
    plot([run], tmp_path / "plot.png")
    log.write_text('{"step": ')
    with pytest.raises(UsageError, match=r"log\.jsonl has no line yet"):
        plot([run], tmp_path / "plot.png")


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [write_log(tmp_path / name / "loop_x2", line(1)) for name in ("a", "b")]
    assert _names(runs) == ["a/loop_x2", "b/loop_x2"]
    assert _names([runs[0], tmp_path]) == ["loop_x2", tmp_path.name]


def test_what_cannot_be_plotted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_log(tmp_path / "one", line(10))
    with pytest.raises(UsageError, match=r"no log\.jsonl in .*pass the --out folder of a run"):
        plot([tmp_path], tmp_path / "plot.png")
    with pytest.raises(UsageError, match=r"plot\.jpg is no picture to plot into"):
        plot([run], tmp_path / "plot.jpg")
    with pytest.raises(TrainingError, match=r"cannot be written \(No such file"):
        plot([run], tmp_path / "missing" / "plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"loopsr\[train\]"):
        plot([run], tmp_path / "plot.png")


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"loopsr\[tensorboard\]"), board(tmp_path):
        pass
