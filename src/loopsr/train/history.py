"""``log.jsonl`` of a run: one JSON line a validation."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from loopsr.errors import TrainingError
from loopsr.io.parts import write_whole

LOG = "log.jsonl"
_COUNTERS = ("step", "data_seconds", "net_seconds", "loss_sum")  # of a run's state


def set_mark(state: dict[str, Any]) -> None:
    """Let the next line be of the steps from here on, also when the run is stopped meanwhile."""
    state["mark"] = {key: state[key] for key in _COUNTERS}


def log_line(state: dict[str, Any], *, rate: float, score: float, silent: int) -> dict[str, Any]:
    """What is logged of the steps since the mark.

    ``seconds`` are of the whole run, ``net_ms`` and ``data_ms`` a step; ``psnr_y`` is ``score``,
    ``silent`` counts channels that no validation picture excited.
    """
    mark = state["mark"]
    steps = state["step"] - mark["step"]
    data, net = (state[key] - mark[key] for key in ("data_seconds", "net_seconds"))
    return {
        "step": state["step"],
        "loss": (state["loss_sum"] - mark["loss_sum"]) / steps,
        "learning_rate": rate,
        "psnr_y": round(score, 4),
        "silent": silent,
        "data_ms": round(1e3 * data / steps, 2),
        "net_ms": round(1e3 * net / steps, 2),
        "seconds": round(state["data_seconds"] + state["net_seconds"], 1),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def append(path: Path, line: dict[str, Any]) -> None:
    """Add a line. Raises ``TrainingError`` when it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}); make room or give rights, then "
            "repeat the command: it goes on from the last checkpoint"
        ) from error


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, whole ones only: a kill may have cut the last."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
    return lines


def forget_after(path: Path, step: int) -> None:
    """Drop lines of steps that a kill undid; they will be written again."""
    if path.is_file():
        kept = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= step]
        write_whole(path, "".join(kept).encode())
