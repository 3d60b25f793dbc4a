"""The memory of a run does not grow with the number of pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import photo

# Runs over `in` and prints how many MB the process grew while it wrote the last two thirds.
MEASURE = """
import os, sys
from pathlib import Path
from loopsr import Upscaler
from loopsr.apps.batch import work
from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.run import run
from loopsr.apps.batch.settings import Settings, Size
from loopsr.weights import catalogue

catalogue.FOLDER, folder, fault = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
hoard = []
if fault == "hoard":
    do = work.upscale_picture
    def keep(job, *arguments):
        result = do(job, *arguments)
        hoard.append(Path(job.target).read_bytes() * 10)
        return result
    work.upscale_picture = keep

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

jobs = [Job(str(p), str(folder / "out" / p.name), p.name) for p in sorted(folder.glob("in/*"))]
settings = Settings(size=Size(scale=4))
for number, outcome in enumerate(
    run(jobs, settings, Upscaler(threads=1), folder=folder / "out", lanes=3, memory=1 << 29)
):
    assert outcome.status == "written", outcome
    if number == len(jobs) // 3:
        before = resident()
print(resident() - before)
"""
COUNT = 450
BOUND = 25.0  # MB


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory as Linux does")
@pytest.mark.parametrize(("fault", "held"), [("", False), ("hoard", True)])
def test_memory_is_flat(tiny_weights: Path, tmp_path: Path, fault: str, held: bool) -> None:
    """450 pictures of 450 sizes; the results of the last 300 together take 200 kB each."""
    for number in range(COUNT):
        suffix = ("png", "jpg", "webp")[number % 3]
        photo(
            tmp_path / "in" / f"{number:03}.{suffix}", 30 + number % 40, 20 + number // 15, number
        )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tiny_weights), str(tmp_path), fault],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (float(done.stdout) > BOUND) is held, done.stdout
