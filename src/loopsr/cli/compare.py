"""``loopsr compare``: one page to look at, so that nobody has to trust a number."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from loopsr.cli.interrupt import run_interruptible
from loopsr.cli.text import format_bytes, named, one_line
from loopsr.errors import UsageError


@click.command(short_help="Lay networks side by side on one page.")
@click.argument("sources", nargs=-1, required=True, metavar="IN...")
@click.option(
    "-m",
    "--models",
    metavar="A,B,...",
    default="bicubic,loop",
    show_default=True,
    help="Names of `loopsr models`, bicubic, lanczos, or files; two to eight.",
)
@click.option(
    "-s", "--scale", type=click.IntRange(2, 8), help="Enlargement.  [default: the network's, or 4]"
)
@click.option(
    "-r",
    "--reference",
    is_flag=True,
    help="The pictures are sharp: reduce them first, then measure, and draw the errors.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="compare.html",
    show_default=True,
    help="The page to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace a page that exists.")
@click.option(
    "--max-pixels",
    type=click.IntRange(64 * 64),
    default=1_000_000,
    show_default=True,
    help="Larger inputs are cut to their middle.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
def command(
    sources: tuple[str, ...],
    models: str,
    scale: int | None,
    reference: bool,
    output: str,
    overwrite: bool,
    max_pixels: int,
    threads: int | None,
) -> int:
    """Upscale pictures by several networks and write one page that compares them.

    The page has a slider, the places where the results differ most, and the numbers; with
    --reference also maps of the errors. It is one file and needs no network.
    """
    from loopsr.apps.compare.run import Comparison, run  # slow imports: not for --help
    from loopsr.data.sources import find_pictures

    page = Path(output)
    if page.is_dir():
        raise UsageError(f"{output} is a folder; pass the name of the page, -o {page / 'x.html'}")
    if page.exists() and not overwrite:
        raise UsageError(f"{output} exists already; pass --overwrite or another -o")
    names = [name.strip() for name in models.split(",") if name.strip()]
    pictures = find_pictures(sources)
    with _progress() as tell:

        def work(stop: threading.Event) -> Comparison:
            def progress(done: float) -> bool:
                tell(done)
                return not stop.is_set()

            return run(
                pictures,
                page,
                models=names,
                scale=scale,
                reference=reference,
                max_pixels=max_pixels,
                threads=threads,
                progress=progress,
            )

        done = run_interruptible(work)
    for source, error in done.failures.items():
        click.echo(one_line(f"loopsr: error: {named(source, error)}"), err=True)
    if not done.pictures:
        return 1
    count = f"{len(done.pictures)} picture{'s' if len(done.pictures) > 1 else ''}"
    click.echo(f"{count}, x{done.scale}: {one_line(', '.join(done.models))}")
    click.echo(f"{page.resolve().as_uri()} ({format_bytes(done.bytes)}); open it in a browser")
    return 1 if done.failures else 0


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A bar on stderr when that is a terminal; it is told the fraction done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("comparing", total=1.0)
        yield lambda done: bar.update(task, completed=done)
