"""The record: what was noted is found again, what is torn or strange is passed over."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopsr.apps.batch import record as module
from loopsr.apps.batch.record import (
    NAME,
    Entry,
    content_of,
    is_intact,
    is_same,
    open_record,
    origin_of,
    read_record,
)
from loopsr.errors import ImageWriteError, UsageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    path.write_bytes(b"a picture")
    return path


def entry(key: str, source: Path, *, settings: str = "s", data: bytes = b"x") -> Entry:
    target = source.parent / "target"
    target.write_bytes(data)
    return Entry(
        key=key,
        origin=origin_of(str(source)),
        settings=settings,
        content=content_of(target),
        result={"width": 4},
        cost=7,
        at=1.5,
        run="r",
    )


def test_what_was_noted_is_found_again(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "new" / "folder"
    names = ("a.png", "sub/ü.png", "line\nbreak.png", os.fsdecode(b"\xff.png"))
    entries = [entry(name, source) for name in names]
    with open_record(folder) as record:
        for one in entries:
            record.add(one)
        newer = entry("a.png", source, settings="other")
        record.add(newer)
        assert record.find("a.png") == newer
    with open_record(folder) as record:
        assert [record.find(name) for name in names] == [newer, *entries[1:]]
        assert record.find("b.png") is None
        assert {one.key for one in record.entries()} == set(names)
    assert all(json.loads(line) for line in (folder / NAME).read_text("ascii").splitlines())


@pytest.mark.parametrize(
    "junk",
    [
        b'{"key": "torn',
        b"",
        b"\n\n",
        b"[]\n",
        b"3\n",
        b"null\n",
        b'{"key": "a.png"}\n',
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b'{"key": 3, "origin": {}, "content": {}}\n',
        b"x" * 200_000,
    ],
)
def test_torn_and_strange_lines_are_passed_over(tmp_path: Path, source: Path, junk: bytes) -> None:
    first, second = entry("a.png", source), entry("b.png", source)
    (tmp_path / NAME).write_bytes(first.line().encode() + b"\n" + junk)
    with open_record(tmp_path) as record:
        assert record.find("a.png") == first
        record.add(second)  # not glued to the torn line
        assert record.find("b.png") == second
    with open_record(tmp_path) as record:
        assert (record.find("a.png"), record.find("b.png")) == (first, second)


@pytest.mark.parametrize("cut", range(1, 400, 37))
def test_a_line_cut_anywhere_is_no_entry(tmp_path: Path, source: Path, cut: int) -> None:
    line = entry("a.png", source).line().encode()
    (tmp_path / NAME).write_bytes(line[:-cut])
    with open_record(tmp_path) as record:
        assert record.find("a.png") is None
        record.add(entry("b.png", source))
    with open_record(tmp_path) as record:
        assert [one.key for one in record.entries()] == ["b.png"]


def test_a_full_disk_in_the_middle_of_a_line(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with open_record(tmp_path) as record:
        record.add(entry("a.png", source))
        with monkeypatch.context() as full:
            space = iter([50, 0])
            full.setattr(os, "write", lambda fd, data: write(fd, data[: next(space)]))
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what counts
                record.add(entry("b.png", source))
        assert caught.value.errno == errno.ENOSPC
        assert record.find("b.png") is None
        record.add(entry("c.png", source))
        assert record.find("c.png") is not None
    with open_record(tmp_path) as record:
        assert {one.key for one in record.entries()} == {"a.png", "c.png"}


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from loopsr.apps.batch.record import open_record"
    other = [sys.executable, "-c", f"{code}; open_record(Path(sys.argv[1]))", str(tmp_path)]
    with open_record(tmp_path):
        run = subprocess.run(other, capture_output=True, text=True)
        assert "UsageError: another run writes into" in run.stderr
        with pytest.raises(UsageError, match="another run"):
            open_record(tmp_path)
    subprocess.run(other, check=True)  # the lock went with its holder


def test_without_locks_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int) -> bool:
        raise OSError("not here")

    monkeypatch.setattr(module, "try_lock", no_locks)
    open_record(tmp_path).close()


def test_places_where_there_can_be_none(tmp_path: Path, source: Path) -> None:
    for folder in (source, source / "below"):
        with pytest.raises(ImageWriteError, match="cannot be opened"):
            open_record(folder)
    (tmp_path / NAME).symlink_to(source)  # planted: our lines would go into a file of the user's
    with pytest.raises(ImageWriteError, match="cannot be opened"):
        open_record(tmp_path)
    assert source.read_bytes() == b"a picture"


def test_looking_changes_nothing(tmp_path: Path) -> None:
    assert read_record(tmp_path / "none") is None
    assert read_record(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_source_is_the_same_by_time_or_by_content(source: Path) -> None:
    origin = origin_of(str(source))
    assert is_same(origin, str(source))
    os.utime(source, ns=(1, 1))
    assert is_same(origin, str(source))  # only touched
    moved = source.rename(source.with_name("moved.png"))
    assert is_same(origin, str(moved))
    moved.write_bytes(b"A picture")
    assert not is_same(origin, str(moved))
    moved.write_bytes(b"a picture, longer")
    assert not is_same(origin, str(moved))
    moved.unlink()
    assert not is_same(origin, str(moved))


def test_a_result_is_intact_to_the_last_byte(tmp_path: Path, source: Path) -> None:
    one = entry("a.png", source, data=b"result")
    target = tmp_path / "a.png"
    for data, intact in (
        (b"result", True),
        (b"resulT", False),
        (b"resul", False),
        (b"", False),
        (b"result\0", False),
    ):
        target.write_bytes(data)
        assert is_intact(one, target) is intact
    target.unlink()
    assert not is_intact(one, target)
