"""The demo: a sample picture from the package, enlarged and laid beside bicubic on one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from loopsr.apps.compare.page import Column, Page, Pixels, Sheet
from loopsr.engine.files import FileResult, upscale_file
from loopsr.engine.opener import open_model
from loopsr.engine.upscaler import Upscaler
from loopsr.io.libvips import vips

SAMPLE = "osprey.png"
_LOOK = (0.885, 0.135)  # where the closer look begins, in shares: the bird's head
_CUT = 72.0  # where the slider stands, in percent: on the bird


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Where the demo's files lie and what was done."""

    upscaled: FileResult
    parameters: int
    result: Path
    bicubic: Path
    page: Path


def run(
    folder: Path,
    *,
    scale: int = 4,
    model: str | None = None,
    progress: Callable[[float], bool] | None = None,
) -> DemoResult:
    """Upscale the sample into ``folder``, and write bicubic's version and the page beside it.

    The folder is made if it is missing; the files of an earlier demo are replaced. Raises what
    ``upscale_file`` raises, and ``OSError`` for a folder that cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sample = (resources.files("loopsr.apps") / "assets" / SAMPLE).read_bytes()
    stem = Path(SAMPLE).stem
    result = folder / f"{stem}_x{scale}.png"
    bicubic = folder / f"{stem}_x{scale}_bicubic.png"
    upscaler = Upscaler(model=model)
    done = upscale_file(
        sample, result, upscaler=upscaler, scale=scale, overwrite=True, progress=progress
    )
    pixels = vips().Image.new_from_buffer(sample, "").numpy()
    plan = upscaler.plan((pixels.shape[1], pixels.shape[0]), scale=scale)
    enlarged = open_model("bicubic", scale=scale)(pixels)
    bicubic.write_bytes(_png(enlarged))
    page = folder / "compare.html"
    demo = DemoResult(
        upscaled=done,
        # a network that runs twice has its parameters once
        parameters=sum({stage.card.name: stage.card.parameters for stage in plan.stages}.values()),
        result=result,
        bicubic=bicubic,
        page=page,
    )
    page.write_text(_page(demo, pixels, enlarged, scale=scale), encoding="utf-8")
    return demo


def _png(pixels: Pixels) -> bytes:
    return bytes(vips().Image.new_from_array(pixels, interpretation="srgb").pngsave_buffer())


def _page(demo: DemoResult, sample: Pixels, bicubic: Pixels, *, scale: int) -> str:
    """The page with its three pictures inside, so that it works from anywhere, offline."""
    done = demo.upscaled
    page = Page(
        title=f"{scale} times larger, by bicubic and by loopsr",
        intro=[
            f"Left of the line: bicubic, as most programs enlarge. Right: `{done.model}`. "
            "Drag the line, or use the arrow keys."
        ],
        closing=["Now one of yours: `loopsr upscale YOUR_PHOTO.jpg`"],
        credit="Photograph: Perched osprey, CC0. ",
    )
    result = vips().Image.new_from_file(str(demo.result)).numpy()
    facts = (
        ("input", f"{done.source_width} x {done.source_height} pixels"),
        ("result", f"{done.width} x {done.height} pixels"),
        ("network", f"{done.model}, {demo.parameters:,} parameters"),
        ("time", f"{done.seconds:.2f} s, on the CPU"),
    )
    columns = (Column(name="bicubic", pixels=bicubic), Column(name=done.model, pixels=result))
    page.add(
        Sheet(name="", input=sample, columns=columns, look=_LOOK, cut=_CUT, crops=0, facts=facts)
    )
    return page.html()
