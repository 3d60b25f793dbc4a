"""Writing: complete or not at all, never over the input, whatever goes wrong on the way."""

from __future__ import annotations

import io
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopsr import io as pictures
from loopsr.errors import Cancelled, ImageWriteError

ALL = ("jpeg", "png", "webp", "tiff", "avif", "gif", "ppm")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Any, pixels: Any, **options: Any) -> None:
    picture = pictures.open_pixels(pixels)
    options = {"width": picture.width, "height": picture.height} | options
    rows = options.pop("rows", None) or picture.rows()
    pictures.write_picture(path, [rows], traits=picture.traits, **options)


@pytest.mark.parametrize("kind", ALL)
def test_writes_only_its_target(make: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"ö weiß [page=1].{kind}"
    write(path, make.scene())
    assert names(tmp_path) == [path.name]
    assert pictures.open_picture(path).source_format == kind


def test_rights_follow_the_umask(make: Any, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.png", make.scene())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_existing_files_need_overwrite(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(ImageWriteError, match="exists"):
        write(path, make.scene())
    assert path.read_bytes() == b"precious"
    write(path, make.scene(), overwrite=True)
    assert np.array_equal(pictures.open_picture(path).pixels(), make.scene())


def test_a_file_that_comes_up_meanwhile_stays(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"

    def rows() -> Iterator[Any]:
        yield make.scene()
        path.write_bytes(b"precious")

    with pytest.raises(ImageWriteError, match="meanwhile"):
        write(path, make.scene(), rows=rows())
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("how", ["same", "symlink", "hardlink"])
def test_the_input_is_never_overwritten(make: Any, tmp_path: Path, how: str) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    write(source, make.scene())
    if how == "same":
        target = tmp_path / "." / "in.png"
    elif how == "symlink":
        target.symlink_to(source)
    else:
        os.link(source, target)
    before = source.read_bytes()
    with pytest.raises(ImageWriteError, match="input itself"):
        write(target, make.scene()[::-1], overwrite=True, source=source)
    assert source.read_bytes() == before


def test_places_that_cannot_be_written(make: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for path, said in (
        (tmp_path / "none" / "a.png", "no folder"),
        (tmp_path / "file" / "a.png", "no folder"),
        (folder, "is a folder"),
        (Path("/dev/null"), "regular file"),
        (tmp_path / ("x" * 300 + ".png"), "too long"),
    ):
        with pytest.raises(ImageWriteError, match=said):
            write(path, make.scene(), overwrite=True, format="png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(make: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ImageWriteError, match="permissions"):
        write(tmp_path / "a.png", make.scene())
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled, ZeroDivisionError])
def test_what_the_rows_raise_comes_out(
    make: Any, tmp_path: Path, kind: str, error: type[BaseException]
) -> None:
    def rows() -> Iterator[Any]:
        yield make.scene()[:20]
        raise error

    with pytest.raises(error):
        write(tmp_path / f"a.{kind}", make.scene(), rows=rows())
    assert names(tmp_path) == []


def test_wrong_rows_are_refused(make: Any, tmp_path: Path) -> None:
    scene = make.scene()
    for rows in ([scene[:39]], [scene, scene[:1]], [scene[:, :59]], [scene / 255.0], []):
        with pytest.raises(ImageWriteError, match="fault of the caller"):
            write(tmp_path / "a.png", scene, rows=iter(rows))
    assert names(tmp_path) == []


FULL = """
import resource, sys, numpy as np
from loopsr import io as pictures
from loopsr.errors import ImageWriteError
resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
picture = pictures.open_pixels(pixels)
try:
    pictures.write_picture(sys.argv[1], [picture.rows()], width=64, height=64,
                           traits=picture.traits)
except ImageWriteError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ALL)
def test_no_room_to_write(tmp_path: Path, kind: str) -> None:
    # A limit on the size of files fails the same calls as a full disk does.
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / f"a.{kind}")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(pictures.__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "write elsewhere" in done.stdout
    assert done.stdout.count("\n") == 1
    assert names(tmp_path) == []


INTERRUPTED = """
import sys, time, numpy as np
from loopsr import io as pictures
def rows():
    for _ in range(1000):
        print("row", flush=True)
        yield np.zeros((10, 500, 3), np.uint8)
        time.sleep(0.02)
pictures.write_picture(sys.argv[1], [rows()], width=500, height=10000, traits=pictures.Traits())
"""


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "a.png")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(pictures.__file__).parents[2])},
    )
    assert running.stdout is not None
    for _ in range(5):
        running.stdout.readline()
    assert names(tmp_path) != []  # the temporary file is there, or this proves nothing
    start = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    assert b"KeyboardInterrupt" in said
    assert time.monotonic() - start < 30
    assert names(tmp_path) == []


def test_to_bytes_and_to_a_stream(make: Any) -> None:
    stream = io.BytesIO()
    write(stream, make.scene(), format="png")
    assert stream.getvalue() == make.wrote(make.scene(), "png")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reduction_has_the_exact_size_and_flat_stays_flat(make: Any, channels: int) -> None:
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        for value in (0, 1, top // 3, top - 1, top):
            flat = np.full((41, 67, channels), value, dtype)
            if channels in (2, 4):
                flat[:, 30:, -1] = top // 2  # alpha varies, colour does not
                flat[:, :30, -1] = top
            back = pictures.open_picture(make.wrote(flat, "png", resize_to=(23, 17))).pixels()
            colours = back if channels in (1, 3) else back[..., :-1]
            assert back.shape[:2] == (17, 23)
            assert (colours == value).all()


def test_reduction_weights_colour_by_alpha(make: Any) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 33:] = (250, 120, 40, 255)
    back = pictures.open_picture(make.wrote(pixels, "png", resize_to=(31, 31))).pixels()
    seen = back[..., 3] > 0
    assert (np.abs(back[seen][:, :3].astype(int) - (250, 120, 40)) <= 1).all()


def test_reduction_agrees_with_pillow(make: Any) -> None:
    from PIL import Image

    back = pictures.open_picture(make.wrote(make.scene(), "png", resize_to=(40, 27))).pixels()
    wanted = Image.fromarray(make.scene()).resize((40, 27), Image.Resampling.LANCZOS)
    difference = np.abs(back.astype(int) - np.asarray(wanted).astype(int))
    assert difference.mean() < 0.6
    assert np.abs(back[:, ::-1].astype(int) - np.asarray(wanted).astype(int)).mean() > 5


def test_alpha_is_laid_over_white_for_jpeg(make: Any) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:8, :, 3] = 255
    got = pictures.open_picture(make.wrote(pixels, "jpeg")).pixels()
    assert got[0].max() < 5
    assert got[-1].min() > 250


PEAK_OF_JPEG = """
import io, re, sys
from pathlib import Path
import numpy as np
from loopsr.io import formats, open_pixels, write_picture

formats._MOST_TWO_PASS = int(sys.argv[1])
side = 3000
traits = open_pixels(np.zeros((2, 2, 3), np.uint8)).traits
rows = (np.random.randint(0, 255, (50, side, 3), np.uint8) for _ in range(side // 50))
write_picture(io.BytesIO(), [rows], width=side, height=side, traits=traits, format="jpeg")
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory as Linux does")
def test_a_large_jpeg_is_not_held_in_memory() -> None:
    """And the control: with optimal tables, all its coefficients are."""
    peaks = []
    for most in (0, 1 << 40):
        command = [sys.executable, "-c", PEAK_OF_JPEG, str(most)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] > 50e6
    jpeg = pictures.format_of("jpeg")
    chosen = [jpeg.options(pictures.Encoding(), 8, size)["optimize_coding"] for size in (1e6, 1e9)]
    assert chosen == [True, False]
