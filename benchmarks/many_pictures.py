"""Memory of one run over many small pictures, from the first to the last.

    python benchmarks/many_pictures.py [--count 10000] [--scale 2]

Cuts a photograph into pieces of many sizes and three formats, upscales the folder as a user would,
kills the run half-way and gives the same command again, and samples the resident memory on the way.
Then checks that every result is there, whole and of its size. Takes minutes. Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyvips
from report import write_report

import loopsr

BAR = 50e6  # bytes that the memory may grow by, from a tenth of the run to its end
SAMPLE = Path(loopsr.__file__).parent / "apps" / "assets" / "osprey.png"
FORMATS = ("png", "jpg", "webp")


def make_pictures(folder: Path, photo: Path, count: int) -> None:
    """Write ``count`` pieces of 24 to 87 pixels a side, a hundred to a folder."""
    image = pyvips.Image.new_from_file(str(photo)).extract_band(0, n=3).copy_memory()
    for number in range(count):
        width, height = 24 + number % 64, 24 + number // 64 % 64
        left, top = number * 7 % (image.width - width), number * 13 % (image.height - height)
        path = folder / f"{number // 100:04}" / f"{number:06}.{FORMATS[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.crop(left, top, width, height).write_to_file(str(path))


def run(command: list[str], *, kill_after: int | None = None) -> tuple[list[Any], list[int], int]:
    """Outcomes, resident bytes when each was told, and the peak; killed after so many outcomes."""
    outcomes, resident, peak = [], [], 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        assert process.stdout is not None
        for line in process.stdout:
            outcomes.append(json.loads(line))
            text = status.read_text()
            resident.append(_bytes(text, "VmRSS"))
            peak = max(peak, _bytes(text, "VmHWM"))
            if len(outcomes) == kill_after:
                process.kill()
                break
    return outcomes, resident, peak


def _bytes(status: str, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", status)
    return int(found[1]) * 1024 if found else 0


def check(folder: Path, count: int, scale: int) -> None:
    """Raise unless every result is there, whole and of its size."""
    results = sorted(folder.glob("out/*/*.*"))
    assert len(results) == count, len(results)
    for number, path in enumerate(results):
        image = pyvips.Image.new_from_file(str(path), fail_on="error")
        expected = (scale * (24 + number % 64), scale * (24 + number // 64 % 64))
        assert (image.width, image.height) == expected, path
        image.avg()
    assert not list(folder.rglob("*.part"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--photo", type=Path, default=SAMPLE)
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    count = options.count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder / "in", options.photo, count)
        command = [sys.executable, "-m", "loopsr", "upscale", "-r", str(folder / "in")]
        command += ["-o", str(folder / "out"), "--scale", str(options.scale), "--json"]
        start = time.monotonic()
        _, before, _ = run(command, kill_after=count // 2)
        outcomes, resident, peak = run(command)
        seconds = time.monotonic() - start
        assert all(outcome["ok"] for outcome in outcomes)
        kept = sum(outcome["status"] == "kept" for outcome in outcomes)
        assert kept >= count // 2, kept
        check(folder, count, options.scale)
        record = (folder / "out" / ".loopsr.jsonl").stat().st_size
    growth = max(
        before[-1] - before[len(before) // 5],
        resident[-1] - resident[count * 6 // 10],  # the first half of it was kept
    )
    result = {
        "pictures": count,
        "scale": options.scale,
        "kept_after_kill": kept,
        "seconds": round(seconds, 1),
        "peak_bytes": peak,
        "resident_bytes": [*before[:: count // 10], *resident[count // 2 :: count // 10]],
        "growth_bytes": growth,
        "record_bytes": record,
    }
    print(json.dumps(result))
    write_report("many_pictures", [result], bar_bytes=BAR)
    print(f"peak {peak / 1e6:.0f} MB, growth {growth / 1e6:.1f} MB; the bar is {BAR / 1e6:.0f} MB")
    return 0 if growth < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
