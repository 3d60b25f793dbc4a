"""What all benchmarks share: dated JSON that names version, commit, processor and threads."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopsr import __version__
from loopsr.engine.machine import cpu_features, cpu_name

RESULTS = Path(__file__).parent / "results"
UNITS = ("AMX", "AVX-512", "AVX2", "NEON")  # widest first


def write_report(name: str, results: Any, *, folder: Path = RESULTS, **facts: Any) -> Path:
    """Write ``NAME-DATE.json`` with all that is needed to repeat a measurement."""
    folder.mkdir(parents=True, exist_ok=True)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    report = {
        "date": today,
        "commit": commit,
        "version": __version__,
        "processor": processor(),
        **facts,
        "results": results,
    }
    path = folder / f"{name}-{today}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path


def fill_part(path: Path, name: str, content: str) -> None:
    """Write the part of a page between ``<!-- NAME: begin ... -->`` and ``<!-- NAME: end -->``.

    Ends the program when the page has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"<!-- {name}: begin")
    mark, closed, rest = rest.partition("-->")
    _, end, after = rest.partition(f"<!-- {name}: end -->")
    if not (begin and closed and end):
        raise SystemExit(f"{path} has no marks for its part {name!r}")
    path.write_text(f"{before}{begin}{mark}-->\n{content}\n{end}{after}", encoding="utf-8")


def unit(features: Sequence[str] | None = None) -> str:
    """The widest vector or matrix unit of ``features``, else of this machine; "" if none is known.

    It decides what a speed is compared with: processors of one name differ in it.
    """
    features = cpu_features() if features is None else features
    return next((name for name in UNITS if name in features), "")


def processor() -> str:
    """The CPU, as the system names it, and its widest unit."""
    return ", ".join(filter(None, (cpu_name(), unit())))
