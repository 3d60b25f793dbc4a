"""Folders from the command line: mirrored, gone on with, forecast, one bad file among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Loopsr, Process, photo

RECORD = ".loopsr.jsonl"


@pytest.fixture
def tree(loopsr: Loopsr) -> Path:
    """A folder `in` with four pictures, a broken one and a text."""
    top = loopsr.folder / "in"
    (top / "deep/er").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.jpg", "deep/a.png", "deep/er/c.webp")):
        photo(16 + number, 12).write_to_file(str(top / name))
    (top / "deep/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (top / "notes.txt").write_text("no picture")
    return top


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


DONE = {"a_x4.png", "b_x4.jpg", "deep/a_x4.png", "deep/er/c_x4.webp", RECORD}


def test_a_tree(loopsr: Loopsr, tree: Path) -> None:
    run = loopsr("upscale", "-r", "in", "-o", "out")
    assert run.returncode == 1
    assert names(loopsr.folder / "out") == DONE
    assert [line.split()[0] for line in run.stdout.decode().splitlines()] == [
        "out/a_x4.png",
        "out/b_x4.jpg",
        "out/deep/a_x4.png",
        "out/deep/er/c_x4.webp",
    ]
    told = run.stderr.decode().splitlines()
    assert told[0] == "loopsr: note: 1 file is no picture or video by the name, and left out"
    assert told[1].startswith("loopsr: error: in/deep/bad.png: ")
    assert told[2] == "loopsr: 1 of 5 failed:"
    assert told[3].startswith("  in/deep/bad.png: ")
    assert len(told) == 4


def test_the_same_command_goes_on(loopsr: Loopsr, tree: Path) -> None:
    line = ("upscale", "-r", "in", "-o", "out")
    loopsr(*line)
    (loopsr.folder / "out/b_x4.jpg").unlink()
    photo(9, 9).write_to_file(str(tree / "deep/bad.png"))
    run = loopsr(*line)
    assert run.returncode == 0, run.stderr
    assert [row.split()[0] for row in run.stdout.decode().splitlines()] == [
        "out/b_x4.jpg",
        "out/deep/bad_x4.png",
    ]
    assert b"loopsr: 3 of 5 kept, as an earlier run finished them\n" in run.stderr
    assert b"3 of 5 kept" not in loopsr(*line, "-q").stderr
    assert loopsr(*line, "-v").stdout.count(b"  kept, ") == 5


def test_json_has_failures_and_states(loopsr: Loopsr, tree: Path) -> None:
    line = ("upscale", "-r", "in", "-o", "out", "--json")
    run = loopsr(*line)
    assert run.returncode == 1
    rows = [json.loads(row) for row in run.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["written"] * 2 + ["written", "failed", "written"]
    assert [row["ok"] for row in rows] == [True, True, True, False, True]
    assert rows[3]["source"] == "in/deep/bad.png"
    assert "broken" in rows[3]["error"]
    again = [json.loads(row) for row in loopsr(*line, "--skip").stdout.splitlines()]
    assert [row["status"] for row in again] == ["kept"] * 3 + ["failed", "kept"]
    assert again[0] == {**rows[0], "status": "kept", "seconds": 0}


def test_where_results_go(loopsr: Loopsr, tree: Path) -> None:
    assert loopsr("upscale", "in/**/*.png", "-o", "one").returncode == 1
    assert names(loopsr.folder / "one") == {"a_x4.png", "deep/a_x4.png", RECORD}
    (loopsr.folder / "list.txt").write_text("in/a.png\nin/b.jpg\n")
    name = ("--name", "{parent}_{number:02}_x{scale}{ext}")
    assert loopsr("upscale", "@list.txt", "-o", "two", "-s", "2", *name).returncode == 0
    assert names(loopsr.folder / "two") == {"in_01_x2.png", "in_02_x2.jpg", RECORD}
    run = loopsr("upscale", "in/a.png", "in/deep/a.png", "-o", "three", "--rename")
    assert run.returncode == 0, run.stderr
    assert names(loopsr.folder / "three") == {"a_x4.png", "a_x4-2.png", RECORD}
    assert loopsr("upscale", "-r", "in", "-o", "in/out").returncode == 1
    assert names(tree / "out") == DONE
    run = loopsr("upscale", "-r", "in", "-o", "in/out")  # its results are no inputs
    assert b"4 of 5 kept" in run.stderr


def test_a_single_result_leaves_no_record(loopsr: Loopsr, tree: Path) -> None:
    assert loopsr("upscale", "in/a.png", "-o", "out/").returncode == 0
    assert names(loopsr.folder / "out") == {"a_x4.png"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-r", "in"], "pass -o FOLDER"),
        (["-r", "in", "-o", "-"], "pass -o FOLDER"),
        (["-r", "in", "-o", "in"], "inputs the next time"),
        (["-r", "in", "-o", "in/a.png"], "is a file"),
        (["in/*.gif", "-o", "out"], "no file matches"),
        (["in/a.png", "-o", "x.png", "--name", "{stem}.png"], "contradict"),
        (["in/a.png", "--name", "{stme}{ext}"], "did you mean stem"),
        (["in/a.png", "--name", "{stem}_big"], "does not say the format"),
        (["in/a.png", "--name", "{stem}{ext}"], "never overwritten"),
        (["in/a.png", "--skip", "--overwrite"], "--overwrite and --skip contradict"),
        (["-r", "in", "-o", "out", "-j", "0"], "at least 1|from 1 to 64"),
        (["in/a.png", "in/deep/a.png", "-o", "out"], "pass --rename"),
        (["-", "--dry-run"], "name a file"),
    ],
)
def test_wrong_usage_writes_nothing(
    loopsr: Loopsr, tree: Path, arguments: list[str], said: str
) -> None:
    import re

    before = names(loopsr.folder)
    run = loopsr("upscale", *arguments)
    assert run.returncode == 2
    assert re.search(said, run.stderr.decode())
    assert run.stderr.count(b"\n") == 1
    assert names(loopsr.folder) == before
    assert not (loopsr.folder / "out").exists()


def test_a_forecast_writes_nothing(loopsr: Loopsr, tree: Path) -> None:
    line = ("upscale", "-r", "in", "-o", "out", "--dry-run")
    run = loopsr(*line)
    assert run.returncode == 1  # one of them would fail
    assert not (loopsr.folder / "out").exists()
    rows = run.stdout.decode().splitlines()
    assert rows[0].startswith("would write out/a_x4.png  16x12 -> 64x48  loop-x4  about 0.")
    assert len(rows) == 4
    told = run.stderr.decode()
    assert "error: in/deep/bad.png" in told
    assert "4 to write, 1 to fail; nothing was written" in told
    assert "by a short measurement on this machine" in told


def test_a_forecast_in_json(loopsr: Loopsr, tree: Path) -> None:
    line = ("upscale", "-r", "in", "-o", "out", "--json")
    *rows, total = map(json.loads, loopsr(*line, "-n").stdout.splitlines())
    assert [row["status"] for row in rows] == ["write"] * 3 + ["fail", "write"]
    assert total["summary"] is True
    assert total["speed"] == "measured"
    good = [row for row in rows if row["ok"]]
    assert total["seconds"] == pytest.approx(sum(row["seconds"] for row in good), abs=0.01)
    assert total["bytes"] == sum(row["bytes"] for row in good) > 0
    assert max(row["memory"] for row in good) <= total["memory"]
    loopsr(*line)
    for name in ("a_x4.png", "b_x4.jpg"):
        (loopsr.folder / "out" / name).unlink()
    before = (loopsr.folder / "out" / RECORD).read_bytes()
    *rows, total = map(json.loads, loopsr(*line, "-n").stdout.splitlines())
    assert [row["status"] for row in rows] == ["write"] * 2 + ["keep", "fail", "keep"]
    assert total["speed"] == "recorded"
    assert total["seconds"] >= 0
    assert (loopsr.folder / "out" / RECORD).read_bytes() == before


def test_a_forecast_knows_the_rules(loopsr: Loopsr, tree: Path) -> None:
    (loopsr.folder / "out").mkdir()
    (loopsr.folder / "out/a_x4.png").write_bytes(b"mine")
    line = ("upscale", "in/a.png", "in/b.jpg", "-o", "out", "-n")
    assert b"the file exists; pass --overwrite" in loopsr(*line).stderr
    assert b"would replace out/a_x4.png  16x12" in loopsr(*line, "--overwrite").stdout
    assert b"would skip out/a_x4.png\n" in loopsr(*line, "--skip").stdout
    assert b"would write out/a_x4-2.png  16x12" in loopsr(*line, "--rename").stdout
    assert names(loopsr.folder / "out") == {"a_x4.png"}


def test_notes_say_which_picture_they_are_about(loopsr: Loopsr) -> None:
    for name in ("one.png", "two.png"):
        photo(bands=4).write_to_file(str(loopsr.folder / name))
    run = loopsr("upscale", "one.png", "two.png", "-f", "jpeg", "-o", "out")
    notes = [line for line in run.stderr.decode().splitlines() if "transparency" in line]
    assert sorted(note[:22] for note in notes) == [
        "loopsr: note: one.png:",
        "loopsr: note: two.png:",
    ]


def test_a_terminal_shows_one_bar_and_whole_lines(process: Process) -> None:
    import os
    import subprocess

    pty = pytest.importorskip("pty")
    (process.folder / "in").mkdir()
    for number in range(4):
        photo(60, 40 + number).write_to_file(str(process.folder / f"in/{number}:x:[b].png"))
    screen, terminal = pty.openpty()
    running = subprocess.Popen(
        process.line("upscale", "-r", "in", "-o", "out"),
        cwd=process.folder,
        env={**process.environment(), "TERM": "xterm"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    while True:
        try:
            piece = os.read(screen, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(screen)
    assert running.wait(60) == 0, seen
    text = seen.decode()
    assert any(f"{number + 1}/4 in/{number}:x:[b].png" in text for number in (0, 2, 3))
    for number in range(4):
        assert f"out/{number}:x:[b]_x4.png  60x{40 + number} -> " in text
