"""The demo: a sample picture from the package, enlarged and laid beside bicubic on one page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from loopsr.engine.files import FileResult, upscale_file
from loopsr.engine.upscaler import Upscaler
from loopsr.io.libvips import vips
from loopsr.ops.resize import resize

SAMPLE = "osprey.png"
_ZOOM = 6  # of the detail panes
_LOOK = (0.885, 0.135)  # where they look at first, as a share of width and height: the bird's head


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
    bicubic.write_bytes(_png(np.asarray(resize(pixels, scale=scale))))
    page = folder / "compare.html"
    demo = DemoResult(
        upscaled=done,
        # a network that runs twice has its parameters once
        parameters=sum({stage.card.name: stage.card.parameters for stage in plan.stages}.values()),
        result=result,
        bicubic=bicubic,
        page=page,
    )
    page.write_text(_page(demo, sample=sample, scale=scale), encoding="utf-8")
    return demo


def _png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    return bytes(vips().Image.new_from_array(pixels, interpretation="srgb").pngsave_buffer())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _page(demo: DemoResult, *, sample: bytes, scale: int) -> str:
    """The page with its three pictures inside, so that it works from anywhere, offline."""
    done = demo.upscaled
    template = (resources.files("loopsr.apps") / "assets" / "compare.html").read_text("utf-8")
    return Template(template).substitute(
        model=done.model,
        scale=scale,
        parameters=f"{demo.parameters:,}",
        seconds=f"{done.seconds:.2f} s",
        source_width=done.source_width,
        source_height=done.source_height,
        width=done.width,
        height=done.height,
        zoom=_ZOOM,
        look_x=_LOOK[0],
        look_y=_LOOK[1],
        input=_data_uri(sample),
        before=_data_uri(demo.bicubic.read_bytes()),
        after=_data_uri(demo.result.read_bytes()),
    )
