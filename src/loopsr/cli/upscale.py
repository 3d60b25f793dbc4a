"""``loopsr upscale``: pictures in, larger pictures out."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from loopsr.apps.batch.jobs import STREAM, Job, plan_jobs
from loopsr.apps.batch.settings import Settings, Size
from loopsr.cli.interrupt import run_interruptible
from loopsr.cli.text import parse_bytes, whole
from loopsr.errors import Cancelled, LoopsrError, UsageError
from loopsr.weights import catalogue

if TYPE_CHECKING:
    from loopsr.cli.report import Report

_MAX_SCALE = 16  # as loopsr.engine.plan, which is too slow to import for --help; a test compares
_DEFAULT_SCALE = 4.0
_FORMATS = "jpeg, png, webp, tiff, avif, gif or ppm"  # as loopsr.io.formats, likewise

EPILOG = """\b
Examples:
  loopsr upscale photo.jpg                      writes photo_x4.jpg beside it
  loopsr upscale --scale 2 -o big/ *.png        several files into a folder
  loopsr upscale --long-edge 3840 a.jpg -o b.png
  loopsr upscale - -o - < a.png > b.png         through pipes

\b
Exit codes:
  0 all done, 1 some failed, 2 wrong usage, 130 interrupted
"""


@click.command(epilog=EPILOG, short_help="Enlarge pictures and sharpen them.")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", help="File, or folder for several; - is stdout.")
@click.option("-s", "--scale", type=float, metavar="X", help="Factor above 1, up to 16.  [4]")
@click.option("--width", type=whole(), metavar="N", help="Width to reach, in pixels.")
@click.option("--height", type=whole(), metavar="N", help="Height; with --width, a box.")
@click.option("--long-edge", type=whole(), metavar="N", help="Longer side to reach.")
@click.option("-m", "--model", metavar="NAME|FILE", help="See `loopsr models`; or an ONNX file.")
@click.option("-f", "--format", metavar="NAME", help=f"Format to write: {_FORMATS}.")
@click.option(
    "--encoding-quality",
    type=whole(100),
    metavar="1-100",
    help="Of JPEG, WebP and AVIF: higher is closer to the pixels and larger.",
)
@click.option("--lossless", is_flag=True, help="Keep every pixel (WebP, AVIF).")
@click.option(
    "--max-memory", metavar="SIZE", help="Such as 500M or 2G.  [a quarter of what is free]"
)
@click.option("--tile", type=whole(), metavar="N", help="Tile side; chosen otherwise.")
@click.option("--threads", type=whole(), metavar="N", help="CPU threads.  [all]")
@click.option("--backend", metavar="NAME", default="auto", help="See `loopsr doctor`.  [auto]")
@click.option("--overwrite", is_flag=True, help="Replace results that exist; inputs never are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a picture on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", count=True, help="Say what is done; twice for more.")
def command(
    inputs: tuple[str, ...],
    output: str | None,
    format: str | None,
    encoding_quality: int | None,
    lossless: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **options: Any,
) -> int:
    """Enlarge pictures IN... with a small network, by four unless a size is given.

    Colour profile, EXIF, 16 bits, transparency and animation are kept. The result lies beside the
    input as NAME_x4.EXT unless -o says otherwise. "-" is stdin.
    """
    from loopsr.cli.report import Report  # slow imports: not for --help
    from loopsr.io.formats import format_of

    if format is not None:
        format = format_of(format).name
    wishes = {key: options.pop(key) for key in ("scale", "width", "height", "long_edge")}
    size = _size(options["model"], **wishes)
    if output is None and inputs == (STREAM,):
        output = STREAM
    _check_streams(output, as_json=as_json)
    jobs = plan_jobs(inputs, output=output, suffix=size.suffix(), format=format)
    settings = Settings(
        size=size,
        format=format,
        quality=encoding_quality,
        lossless=lossless,
        overwrite=overwrite,
    )
    upscaler = _open_upscaler(**options)
    report = Report(
        total=len(jobs),
        as_json=as_json,
        verbosity=-1 if quiet else verbose,
        stdout_taken=output == STREAM,
    )
    with report:
        return _run(jobs, upscaler, settings, report)


def _size(
    model: str | None,
    *,
    scale: float | None,
    width: int | None,
    height: int | None,
    long_edge: int | None,
) -> Size:
    """The size that was asked for; without a wish the model's own scale, or four."""
    if scale is not None and not 1 < scale <= _MAX_SCALE:
        raise UsageError(
            f"--scale is {scale:g}, above 1 and up to {_MAX_SCALE} was expected; pass 2, 3 or 4"
        )
    wishes = (
        ("--scale", scale),
        ("--width or --height", width or height),
        ("--long-edge", long_edge),
    )
    given = [name for name, value in wishes if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} contradict each other; pass one of them")
    if not given:
        scale = catalogue.card(model).scale if model else _DEFAULT_SCALE
    return Size(scale=scale, width=width, height=height, long_edge=long_edge)


def _check_streams(output: str | None, *, as_json: bool) -> None:
    if output != STREAM:
        return
    if as_json:
        raise UsageError("stdout cannot take both the picture and --json; pass -o FILE")
    if sys.stdout.isatty():
        raise UsageError("a terminal cannot show a picture; pass -o FILE or pipe stdout on")


def _open_upscaler(
    *,
    model: str | None,
    backend: str,
    threads: int | None,
    max_memory: str | None,
    tile: int | None,
) -> Any:
    from loopsr.engine.upscaler import Upscaler  # slow import: not for --help

    return Upscaler(
        model=model,
        backend=backend,
        threads=threads,
        max_memory=None if max_memory is None else parse_bytes(max_memory),
        tile=tile,
    )


def _run(jobs: list[Job], upscaler: Any, settings: Settings, report: Report) -> int:
    """Upscale job after job; a failure is told and the rest goes on. Returns the exit code."""
    failures: list[tuple[str, str]] = []
    code = 0
    for job in jobs:
        report.begin(job.source)
        try:
            result = _upscale_one(job, upscaler, settings, report)
        except Cancelled:
            raise
        except (LoopsrError, OSError, MemoryError) as error:
            message = str(error) or "out of memory; pass --max-memory 500M"
            report.failed(job.source, job.target, message)
            failures.append((job.source, message))
            # One picture: the error's own code (2 for a size that cannot be). Several: 1.
            code = getattr(error, "exit_code", 1) if len(jobs) == 1 else 1
        else:
            report.finished(result)
    report.summary(failures, len(jobs))
    return code


def _upscale_one(job: Job, upscaler: Any, settings: Settings, report: Report) -> dict[str, Any]:
    from loopsr.apps.batch.work import do_job

    def work(stop: threading.Event) -> dict[str, Any]:
        def progress(done: float) -> bool:
            report.advance(done)
            return not stop.is_set()

        return do_job(job, settings, upscaler, progress)

    return run_interruptible(work)
