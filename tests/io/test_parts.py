"""Unfinished results: only those that no process writes are removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopsr.io import parts
from loopsr.io.lock import try_lock

pytestmark = pytest.mark.skipif(os.name != "posix", reason="advisory locks")

KEEP = """
import sys
from pathlib import Path
from loopsr.io.parts import part_beside
with part_beside(Path(sys.argv[1])) as part:
    print(part, flush=True)
    sys.stdin.read()
"""


def start(target: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process that is writing a result, and its part."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEP, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


FULL = """
import resource, sys
from pathlib import Path
from loopsr.io.parts import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path(sys.argv[1]), bytes(5000))
except OSError as error:
    print(error)
"""


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "weights.onnx"
    parts.write_whole(target, b"whole")
    assert target.read_bytes() == b"whole"
    # A limit on the size of files fails the same calls as a full disk does.
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(target)], capture_output=True, text=True, check=True
    )
    assert "weights.onnx" in done.stdout
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_part_is_removed_only_when_its_process_is_gone(tmp_path: Path) -> None:
    process, part = start(tmp_path / "out.png")
    with process:
        assert part.parent == tmp_path
        assert parts.remove_stale(tmp_path) == []
        assert part.exists()
        process.kill()
        process.wait()
        assert part.exists()  # nobody could tidy up after it
        assert parts.remove_stale(tmp_path) == [part]
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_the_lock_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "try_lock", lambda descriptor: True)
    process, part = start(tmp_path / "out.png")
    with process:
        assert parts.remove_stale(tmp_path) == [part]
        process.communicate("")


def test_this_process_is_another_one_too(tmp_path: Path) -> None:
    with parts.part_beside(tmp_path / "a.png") as part:
        assert parts.remove_stale(tmp_path) == []
        assert part.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    names = (
        "a.part",
        ".a.part",
        ".a.0123abcd.part",
        "a.0123abcd.loopsr.part",
        ".a.0123abcg.loopsr.part",
        ".a.0123abcd.loopsr.part.txt",
        f".{'a' * 41}.0123abcd.loopsr.part",
    )
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".folder.0123abcd.loopsr.part").mkdir()
    (tmp_path / "precious").touch()
    (tmp_path / ".link.0123abcd.loopsr.part").symlink_to("precious")
    os.mkfifo(tmp_path / ".pipe.0123abcd.loopsr.part.x")
    (tmp_path / ".ours\n.0123abcd.loopsr.part").touch()
    before = {path.name for path in tmp_path.iterdir()}
    assert [path.name for path in parts.remove_stale(tmp_path)] == [".ours\n.0123abcd.loopsr.part"]
    assert before - {path.name for path in tmp_path.iterdir()} == {".ours\n.0123abcd.loopsr.part"}


def test_folders_that_are_not_there() -> None:
    assert parts.remove_stale(Path("/nowhere/at/all")) == []


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int) -> bool:
        raise OSError("not here")

    monkeypatch.setattr(parts, "try_lock", no_locks)
    with parts.part_beside(tmp_path / "a.png") as part:
        assert parts.remove_stale(tmp_path) == []
        assert part.exists()
    assert not part.exists()


def test_a_part_that_vanishes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def late(descriptor: int) -> bool:
        if len(taken) < 2:  # another run tidies up just now
            taken.extend(tmp_path.iterdir())
            taken[-1].unlink()
        return try_lock(descriptor)

    monkeypatch.setattr(parts, "try_lock", late)
    with parts.part_beside(tmp_path / "a.png") as part:
        assert part.exists()
        assert part not in taken
    monkeypatch.setattr(parts, "try_lock", lambda _: [p.unlink() for p in tmp_path.iterdir()])
    with pytest.raises(OSError, match="vanish"), parts.part_beside(tmp_path / "a.png"):
        pass
