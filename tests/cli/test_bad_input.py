"""Bad input: one line that says the cause and what to do, the right code, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from loopsr.weights import catalogue

from .conftest import Loopsr, Process, Run, leftovers, photo


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes cannot hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def half(suffix: str) -> bytes:
    """The first half of a real file."""
    data = bytes(photo(64, 64).write_to_buffer(suffix))
    return data[: len(data) // 2]


BAD = {
    "empty.png": b"",
    "text.png": b"Dear diary,\nthis is no picture.\n",
    "page.jpg": b"<html>404</html>",
    "zero.png": png(0, 5),
    "bomb.png": png(1_000_000, 1_000_000),
    "short.png": png(64, 64),
    "half.png": half(".png"),
    "half.jpg": half(".jpg"),
    "half.webp": half(".webp"),
    "half.tif": half(".tif"),
    "half.gif": half(".gif"),
    "half.ppm": b"P6 64 64 255\n" + bytes(6000),
}


def check_refused(run: Run | subprocess.CompletedProcess[bytes], *, code: int = 1) -> str:
    """The one line of stderr of a run that failed as it should."""
    text = run.stderr.decode()
    assert run.returncode == code, text
    assert text.startswith("loopsr: error: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("name", BAD)
def test_bad_files(loopsr: Loopsr, name: str) -> None:
    (loopsr.folder / name).write_bytes(BAD[name])
    line = check_refused(loopsr("upscale", name))
    assert line.startswith(f"loopsr: error: {name}: ")
    assert not leftovers(loopsr.folder, name)


def test_a_good_file_passes_the_same_check(loopsr: Loopsr, picture: Path) -> None:
    run = loopsr("upscale", "photo.png")
    with pytest.raises(AssertionError):
        check_refused(run)
    assert leftovers(loopsr.folder, "photo.png") == {"photo_x4.png"}


def test_missing_and_folder(loopsr: Loopsr) -> None:
    assert "no such file" in check_refused(loopsr("upscale", "gone.png"))
    (loopsr.folder / "folder.png").mkdir()
    assert "folder" in check_refused(loopsr("upscale", "folder.png"))
    assert not leftovers(loopsr.folder, "folder.png")


def test_a_name_is_no_code_of_an_emoji(loopsr: Loopsr) -> None:
    (loopsr.folder / ":star:.png").touch()
    assert " :star:.png: " in check_refused(loopsr("upscale", ":star:.png"))


def test_unreadable(loopsr: Loopsr, picture: Path) -> None:
    picture.chmod(0)
    if os.access(picture, os.R_OK):
        pytest.skip("this user (root) may read everything")
    assert "permission" in check_refused(loopsr("upscale", "photo.png"))


def test_empty_stdin(process: Process) -> None:
    run = process("upscale", "-", input=b"")
    assert "stdin" in check_refused(run)
    assert run.stdout == b""


def test_a_stream_that_does_not_end(
    loopsr: Loopsr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from loopsr.apps.batch import work

    monkeypatch.setattr(work, "_MAX_STDIN", 100)
    (tmp_path / "much").write_bytes(half(".png"))
    with (tmp_path / "much").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        line = check_refused(loopsr("upscale", "-", "-o", "x.png"))
    assert "save it to a file" in line


def test_half_a_picture_on_stdin_puts_nothing_on_stdout(process: Process) -> None:
    run = process("upscale", "-", input=half(".png"))
    check_refused(run)
    assert run.stdout == b""


def test_unknown_model(loopsr: Loopsr, picture: Path) -> None:
    assert "did you mean loop-x4" in check_refused(
        loopsr("upscale", "photo.png", "--model", "lop-x4"), code=2
    )
    assert "onnxruntime" in check_refused(
        loopsr("upscale", "photo.png", "--backend", "onxruntime"), code=2
    )
    check_refused(loopsr("upscale", "photo.png", "--model", "gone.onnx"))
    assert not leftovers(loopsr.folder, "photo.png")


@pytest.fixture
def damaged(
    loopsr: Loopsr, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder of weights in which one byte of a default network was changed."""
    folder = tmp_path_factory.mktemp("damaged") / "weights"
    shutil.copytree(loopsr.weights, folder)
    path = folder / "loop-x4.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(catalogue, "FOLDER", folder)
    return folder


def test_weights_of_another_hash(loopsr: Loopsr, damaged: Path, picture: Path) -> None:
    assert "damaged" in check_refused(loopsr("upscale", "photo.png"))
    assert not leftovers(loopsr.folder, "photo.png")
    assert loopsr("upscale", "photo.png", "--scale", "2").returncode == 0  # the others are fine


def test_models_and_doctor_tell_of_damaged_weights(loopsr: Loopsr, damaged: Path) -> None:
    run = loopsr("models", "--json")
    assert "damaged" in check_refused(run)
    assert [record["name"] for record in json.loads(run.stdout)] == ["loop-x2", "loop-x3"]
    run = loopsr("doctor")
    assert run.returncode == 1
    assert b"problem   model loop-x4" in run.stdout


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x09" * 40, half(".png")])
def test_a_file_that_is_no_network(loopsr: Loopsr, picture: Path, content: bytes) -> None:
    (loopsr.folder / "own.onnx").write_bytes(content)
    check_refused(loopsr("upscale", "photo.png", "--model", "own.onnx"))
    assert not leftovers(loopsr.folder, "photo.png", "own.onnx")


def test_cut_off_network(loopsr: Loopsr, picture: Path) -> None:
    data = (loopsr.weights / "loop-x4.onnx").read_bytes()
    (loopsr.folder / "own.onnx").write_bytes(data[: len(data) // 2])
    check_refused(loopsr("upscale", "photo.png", "--model", "own.onnx"))


def test_a_result_too_large_for_its_format(loopsr: Loopsr) -> None:
    photo(5000, 2).write_to_file(str(loopsr.folder / "wide.png"))
    line = check_refused(loopsr("upscale", "wide.png", "--format", "webp"))
    assert "16383" in line
    assert not leftovers(loopsr.folder, "wide.png")


def test_a_size_that_is_no_enlargement(loopsr: Loopsr, picture: Path) -> None:
    check_refused(loopsr("upscale", "photo.png", "--width", "10"), code=2)


def test_too_little_memory(loopsr: Loopsr, picture: Path) -> None:
    line = check_refused(loopsr("upscale", "photo.png", "--max-memory", "1K"), code=2)
    assert "--max-memory" in line


def test_output_under_a_file(loopsr: Loopsr, picture: Path) -> None:
    (loopsr.folder / "file").write_bytes(b"precious")
    check_refused(loopsr("upscale", "photo.png", "-o", "file/x.png"))
    assert (loopsr.folder / "file").read_bytes() == b"precious"


def test_read_only_folder(loopsr: Loopsr, picture: Path) -> None:
    folder = loopsr.folder / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user (root) may write everywhere")
    check_refused(loopsr("upscale", "photo.png", "-o", "locked/"))


def test_a_folder_that_takes_no_files(loopsr: Loopsr, picture: Path) -> None:
    """As a read-only folder, and for root too."""
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    check_refused(loopsr("upscale", "photo.png", "-o", "/proc/self/x.png"))


def test_a_disk_that_is_full_in_the_middle(process: Process) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    photo(200, 200).write_to_file(str(process.folder / "photo.png"))

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = process("upscale", "photo.png", "-o", "x.tif", preexec_fn=no_large_files)
    check_refused(run)
    assert not leftovers(process.folder, "photo.png")
    assert process("upscale", "photo.png", "-o", "x.tif").returncode == 0


def test_a_really_full_disk(process: Process, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        photo(200, 200).write_to_file(str(tmp_path / "photo.png"))
        check_refused(process("upscale", "photo.png", "-o", "disk/x.tif"))
        assert not leftovers(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
