"""Peak memory of one run, in a process of its own.

    python -m loopsr.apps.bench.memory < task.json

Prints the most bytes of memory that the process had, with Python and the runtime. Linux only.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from loopsr.apps.bench.entries import Entry, runner
from loopsr.errors import BackendError
from loopsr.weights import catalogue

_STATUS = Path("/proc/self/status")


def peak_memory(entry: Entry, *, size: tuple[int, int], threads: int) -> int | None:
    """Peak resident bytes of a process that upscales one picture of ``size`` (width, height).

    None where the system does not tell. Raises ``BackendError`` when that process fails.
    """
    if not _STATUS.exists():
        return None
    task = {
        "entry": asdict(entry),
        "size": size,
        "threads": threads,
        "weights": str(catalogue.FOLDER),
    }
    done = subprocess.run(
        [sys.executable, "-m", "loopsr.apps.bench.memory"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout.strip().isdigit():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BackendError(
            f"{entry.label} failed in a process of its own ({lines[-1][:200]}); see whether "
            "memory is free"
        )
    return int(done.stdout)


def main() -> None:
    task = json.load(sys.stdin)
    catalogue.FOLDER = Path(task["weights"])
    width, height = task["size"]
    model = Entry(**task["entry"]).open(task["threads"])
    runner(model, size=(width, height))()
    found = re.search(r"VmHWM:\s+(\d+)", _STATUS.read_text())
    print(int(found[1]) * 1024 if found else "")


if __name__ == "__main__":
    main()
