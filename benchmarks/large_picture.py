"""Peak memory of a picture larger than most machines would like: 100 megapixels in, x2 out.

    python benchmarks/large_picture.py [--megapixels 100] [--photo FILE]

Repeats a photograph to the wanted size, upscales it as a user would, and reads the
peak of the resident memory of that process. Takes minutes and a few GB of disk. Linux only.
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

import pyvips
from report import write_report

import loopsr

BAR = 1.5e9  # bytes
SAMPLE = Path(loopsr.__file__).parent / "apps" / "assets" / "osprey.png"


def make_picture(path: Path, photo: Path, megapixels: float) -> tuple[int, int]:
    """Write a square picture of that many pixels; returns (width, height)."""
    side = round((megapixels * 1e6) ** 0.5)
    image = pyvips.Image.new_from_file(str(photo)).extract_band(0, n=3)
    image = image.replicate(-(-side // image.width), -(-side // image.height))
    image.crop(0, 0, side, side).write_to_file(str(path))
    return side, side


def run(command: list[str]) -> tuple[str, float, int]:
    """Standard output, seconds and peak resident bytes of a command. Raises if it fails."""
    start = time.monotonic()
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            peak = max(peak, int(found[1]) * 1024 if found else 0)
            time.sleep(0.05)
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output, time.monotonic() - start, peak


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--photo", type=Path, default=SAMPLE)
    parser.add_argument("--source", default="jpg", help="format that is read")
    parser.add_argument("--target", default="tif", help="format that is written")
    parser.add_argument("--scale", default="2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"large.{options.source}"
        target = Path(folder) / f"larger.{options.target}"
        size = make_picture(source, options.photo, options.megapixels)
        command = [sys.executable, "-m", "loopsr", "upscale", str(source), "-o", str(target)]
        output, seconds, peak = run([*command, "--scale", options.scale, "--json"])
        written = target.stat().st_size
    told = json.loads(output)
    result = {
        "source": [options.source, *size],
        "target": [options.target, told["width"], told["height"]],
        "model": told["model"],
        "seconds": round(seconds, 1),
        "peak_bytes": peak,
        "written_bytes": written,
    }
    print(json.dumps(result))
    write_report("large_picture", [result], bar_bytes=BAR)
    print(f"peak {peak / 1e9:.2f} GB in {seconds:.0f} s; the bar is {BAR / 1e9:.2f} GB")
    return 0 if peak < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
