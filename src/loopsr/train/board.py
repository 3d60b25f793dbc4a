"""What a run logs, for TensorBoard as well. Needs the extra ``tensorboard``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loopsr.errors import MissingExtraError

SCALARS = ("psnr_y", "loss", "learning_rate", "net_ms", "data_ms")


@contextlib.contextmanager
def board(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A ``report`` for ``train`` that appends to event files in ``folder``.

    Events of steps that a kill undid are hidden when the run goes on. Raises
    ``MissingExtraError``.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("TensorBoard", "tensorboard") from error
    writer: Any = None

    def report(line: dict[str, Any]) -> None:
        nonlocal writer
        if writer is None:  # opened now, since only the first line says where the run goes on
            writer = SummaryWriter(str(folder), purge_step=line["step"])
        for key in SCALARS:
            writer.add_scalar(key, line[key], line["step"])
        writer.flush()

    try:
        yield report
    finally:
        if writer is not None:
            writer.close()
