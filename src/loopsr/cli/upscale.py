"""``loopsr upscale``: pictures in, larger pictures out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopsr.apps.batch.jobs import STREAM
from loopsr.apps.batch.settings import Settings, Size, VideoWishes
from loopsr.cli.text import moment, parse_bytes, seconds, whole
from loopsr.errors import UnknownNameError, UsageError
from loopsr.weights import catalogue

if TYPE_CHECKING:
    from loopsr.apps.batch.resume import Collision
    from loopsr.cli.batch import Engine

_MAX_SCALE = 16  # as loopsr.engine.plan, which is too slow to import for --help; a test compares
_ENGINES: dict[str, Engine] = {"local": "local", "ray": "ray"}
_DEFAULT_SCALE = 4.0
_DEFAULT_VIDEO_SCALE = 2.0
_CODECS = "h264, h265, av1, prores or ffv1"  # as loopsr.io.video.codecs, likewise
_FORMATS = "jpeg, png, webp, tiff, avif, gif or ppm"  # as loopsr.io.formats, likewise

EPILOG = """\b
Examples:
  loopsr upscale photo.jpg                      writes photo_x4.jpg beside it
  loopsr upscale --scale 2 -o big/ *.png        several files into a folder
  loopsr upscale -r photos/ -o big/             a tree; the same line goes on after a stop
  loopsr upscale -r photos/ -o big/ --dry-run   what that would write, and how long it takes
  loopsr upscale --long-edge 3840 a.jpg -o b.png
  loopsr upscale - -o - < a.png > b.png         through pipes
  loopsr upscale clip.mp4                       writes clip_x2.mp4; goes on after a stop

\b
Exit codes:
  0 all done, 1 some failed, 2 wrong usage, 130 interrupted
"""


@click.command(epilog=EPILOG, short_help="Enlarge pictures and videos.")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", help="File, or folder for several; - is stdout.")
@click.option(
    "-s", "--scale", type=float, metavar="X", help="Factor above 1, up to 16.  [4; videos 2]"
)
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
@click.option("--codec", metavar="NAME", help=f"Of videos: {_CODECS}.  [by the container]")
@click.option("--crf", type=int, metavar="N", help="Quality of videos, 0 the best.  [by the codec]")
@click.option("--start", type=moment, metavar="TIME", help="Of a video: 90, 1:30 or 0:01:30.5.")
@click.option("--duration", type=moment, metavar="TIME", help="How much of a video.  [the rest]")
@click.option("--preview", type=moment, metavar="TIME", help="One frame of a video, as a PNG.")
@click.option("-r", "--recursive", is_flag=True, help="Folders too, mirrored below OUT.")
@click.option(
    "--name",
    metavar="TEMPLATE",
    help="Of results, such as {stem}_{number:04}{ext}.  [{stem}_{size}{ext}]",
)
@click.option("--overwrite", is_flag=True, help="Replace results that exist; inputs never are.")
@click.option("--skip", is_flag=True, help="Leave out inputs whose results exist.")
@click.option("--rename", is_flag=True, help="Take another name where a result exists.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Say what would be done, and how long it takes."
)
@click.option("-j", "--jobs", type=whole(64), metavar="N", help="Pictures in the works at once.")
@click.option(
    "--max-memory", metavar="SIZE", help="Such as 500M or 2G.  [a quarter of what is free]"
)
@click.option("--tile", type=whole(), metavar="N", help="Tile side; chosen otherwise.")
@click.option("--threads", type=whole(), metavar="N", help="CPU threads.  [all]")
@click.option("--backend", metavar="NAME", default="auto", help="See `loopsr doctor`.  [auto]")
@click.option(
    "--engine", metavar="NAME", default="local", help="local, or ray for a cluster.  [local]"
)
@click.option(
    "--precision",
    metavar="NAME",
    default="auto",
    help="float32, bfloat16 or int8.  [auto: without visible loss]",
)
@click.option(
    "--quality",
    metavar="NAME",
    help="fast, balanced (steps as each part needs them) or best (all).  [balanced]",
)
@click.option("--iters", type=whole(), metavar="N", help="Steps of the network, instead.")
@click.option(
    "--self-ensemble", is_flag=True, help="Mean over 8 turns: a little better, 8 times as slow."
)
@click.option(
    "--time-limit",
    "deadline",
    type=seconds,
    metavar="TIME",
    help="Of a picture, such as 5s: as good as fits.",
)
@click.option("--show-steps", metavar="FILE.png", help="Write a map of the steps that were taken.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a picture on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", count=True, help="Say what is done; twice for more.")
def command(
    inputs: tuple[str, ...],
    output: str | None,
    format: str | None,
    encoding_quality: int | None,
    lossless: bool,
    recursive: bool,
    name: str | None,
    dry_run: bool,
    jobs: int | None,
    max_memory: str | None,
    engine: str,
    show_steps: str | None,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **options: Any,
) -> int:
    """Enlarge pictures and videos IN... with a small network, pictures by four, videos by two.

    Colour profile, EXIF, 16 bits, transparency and animation are kept. The result lies beside the
    input as NAME_x4.EXT unless -o says otherwise. "-" is stdin, @FILE a list of names; quoted globs
    are understood, ** too. Of a video, all that is not its picture is copied.
    """
    from loopsr.cli.batch import Batch, check_streams  # slow imports: not for --help
    from loopsr.io.formats import format_of

    if engine not in _ENGINES:
        raise UnknownNameError("engine", engine, _ENGINES)
    if format is not None:
        format = format_of(format).name
    collision = _collision(**{key: options.pop(key) for key in ("overwrite", "skip", "rename")})
    wishes = {key: options.pop(key) for key in ("scale", "width", "height", "long_edge")}
    size = _size(options["model"], _DEFAULT_SCALE, **wishes)
    video = VideoWishes(
        size=_size(options["model"], _DEFAULT_VIDEO_SCALE, **wishes),
        start=options.pop("start") or 0.0,
        **{key: options.pop(key) for key in ("codec", "crf", "duration", "preview")},
    )
    if output is None and inputs == (STREAM,):
        output = STREAM
    check_streams(output, inputs, as_json=as_json, dry_run=dry_run)
    batch = Batch.plan(
        inputs,
        output=output,
        recursive=recursive,
        template=name,
        settings=Settings(
            size=size,
            format=format,
            quality=encoding_quality,
            lossless=lossless,
            video=video,
            show_steps=show_steps,
        ),
        collision=collision,
        # One at a time, or the time of a picture would go by while others are worked on.
        lanes=jobs or (1 if options["deadline"] else None),
        engine=_ENGINES[engine],
    )
    if options["deadline"]:
        batch.check_time_limit()
    if show_steps:
        batch.check_show_steps()
    if options["model"] is not None:
        batch.check_model(options["model"])
    memory = _memory(max_memory)
    from loopsr.engine.upscaler import Upscaler  # slow import: not before wrong usage was told

    upscaler = Upscaler(max_memory=memory, **options)
    with batch.report(as_json=as_json, verbosity=-1 if quiet else verbose) as report:
        if dry_run:
            return batch.forecast(upscaler, memory, report)
        if engine == "ray":
            model = options["model"]
            if model is not None and catalogue.is_path(model):
                options["model"] = str(Path(model).absolute())
            given = None if max_memory is None else memory
            return batch.run_on_ray(upscaler, given, report, **options)
        return batch.run(upscaler, memory, report)


def _collision(*, overwrite: bool, skip: bool, rename: bool) -> Collision:
    """What to do where a result exists already."""
    chosen: tuple[tuple[Collision, bool], ...] = (
        ("overwrite", overwrite),
        ("skip", skip),
        ("rename", rename),
    )
    given = [name for name, value in chosen if value]
    if len(given) > 1:
        raise UsageError(f"--{' and --'.join(given)} contradict each other; pass one of them")
    return given[0] if given else "error"


def _size(
    model: str | None,
    default: float,
    *,
    scale: float | None,
    width: int | None,
    height: int | None,
    long_edge: int | None,
) -> Size:
    """The size that was asked for; without a wish the model's own scale, or the ``default``."""
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
        scale = (catalogue.own_scale(model) if model else None) or default
    return Size(scale=scale, width=width, height=height, long_edge=long_edge)


def _memory(text: str | None) -> int:
    """The bytes that the work may take; fixed for the run, whatever is free later."""
    from loopsr.engine.machine import free_memory
    from loopsr.engine.plan import default_memory

    return default_memory(free_memory()) if text is None else parse_bytes(text)
