"""``loopsr demo``: the sample picture, enlarged, and a page to look at."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from loopsr.cli.interrupt import run_interruptible
from loopsr.cli.text import format_seconds, one_line


@click.command(short_help="Upscale a sample picture and compare it with bicubic.")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    default="loopsr-demo",
    show_default=True,
    help="Where the files go.",
)
@click.option("-m", "--model", metavar="NAME|FILE", help="Another network of four times.")
def command(output: str, model: str | None) -> None:
    """Upscale a sample picture that comes with loopsr, four times.

    Writes the result, bicubic's version, and a page that compares the two with a slider.
    """
    from loopsr.apps.demo import DemoResult, run  # slow imports: not for --help
    from loopsr.cli.report import Report

    def work(stop: threading.Event) -> DemoResult:
        def progress(done: float) -> bool:
            report.advance(0, done)
            return not stop.is_set()

        return run(Path(output), model=model, progress=progress)

    with Report(total=1, as_json=False, verbosity=0, stdout_taken=False) as report:
        report.begin(0, "sample picture")
        demo = run_interruptible(work)
    done = demo.upscaled
    lines = (
        ("sample", f"{done.source_width} x {done.source_height} pixels"),
        ("result", f"{done.width} x {done.height} pixels"),
        ("network", f"{done.model}, {demo.parameters:,} parameters"),
        ("time", f"{format_seconds(done.seconds)}, on the CPU"),
        ("wrote", str(demo.result)),
        ("", str(demo.bicubic)),
        ("compare", demo.page.resolve().as_uri()),
    )
    for label, text in lines:
        click.echo(f"{label:8} {one_line(text)}")
    click.echo("\nOpen the page in a browser, then try one of yours: loopsr upscale PHOTO.jpg")
