"""How time and memory grow with the picture, and what tiles of other sizes cost.

    python benchmarks/growth.py [--megapixels 1,4,16,64] [--tiles 32,64,128,256,512] [--scale 2]
                                [--photo FILE] [-- --backend openvino ...]

Runs `loopsr upscale` as a user would, on a photograph that is repeated to each size, and reads the
peak of the resident memory of that process; then a picture of --tile-megapixels with each tile.
Writes dated JSON to benchmarks/results. Takes minutes and some GB of disk. Linux only. Run it on an
idle machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from large_picture import SAMPLE, make_picture, run
from report import RESULTS, fill_part, processor, write_report
from rich.console import Console
from rich.table import Table


def measure(
    folder: Path, *, megapixels: float, tile: int | None, options: argparse.Namespace
) -> dict[str, Any]:
    """One run of the command: seconds, peak memory, and what it told of itself."""
    source, target = folder / "in.jpg", folder / f"out.{options.target}"
    width, height = make_picture(source, options.photo, megapixels)
    command = [sys.executable, "-m", "loopsr", "upscale", str(source), "-o", str(target)]
    command += ["--scale", str(options.scale), "--overwrite", "--json"]
    command += ["--tile", str(tile)] if tile else []
    command += options.more
    output, seconds, peak = run(command)
    told = json.loads(output)
    return {
        "source": [width, height],
        "target": [told["width"], told["height"]],
        "model": told["model"],
        "tile": tile,
        "seconds": round(seconds, 2),
        "seconds_per_megapixel": round(seconds / (width * height / 1e6), 3),
        "peak_bytes": peak,
    }


HEADS = ("megapixels", "tile", "seconds", "a megapixel", "peak MB")


def cells(results: list[dict[str, Any]]) -> list[list[str]]:
    """A row a run, as it is printed."""
    rows = []
    for row in results:
        width, height = row["source"]
        rows.append(
            [
                f"{width * height / 1e6:.1f}",
                str(row["tile"] or "chosen"),
                f"{row['seconds']:.1f}",
                f"{row['seconds_per_megapixel']:.2f}",
                f"{row['peak_bytes'] / 1e6:.0f}",
            ]
        )
    return rows


def as_markdown(results: list[dict[str, Any]], intro: str) -> str:
    """All runs as a part of a page."""
    lines = [f"| {' | '.join(row)} |" for row in [list(HEADS), *cells(results)]]
    return "\n".join([intro, "", lines[0], "|---" * len(HEADS) + "|", *lines[1:]])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", default="1,4,16,64")
    parser.add_argument("--tiles", default="32,64,128,256,512")
    parser.add_argument("--tile-megapixels", type=float, default=4)
    parser.add_argument("--photo", type=Path, default=SAMPLE)
    parser.add_argument("--target", default="jpg", help="format that is written")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--guide", type=Path, help="page whose table is written anew")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "more", nargs="*", help="more arguments for `loopsr upscale`, after --: -- --threads 2"
    )
    options = parser.parse_args(argv)
    if not options.megapixels:
        parser.error("--megapixels needs one size at least")
    sizes = [float(text) for text in options.megapixels.split(",") if text]
    tiles = [int(text) for text in options.tiles.split(",") if text]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grown = [measure(folder, megapixels=size, tile=None, options=options) for size in sizes]
        tiled = [
            measure(folder, megapixels=options.tile_megapixels, tile=tile, options=options)
            for tile in (*tiles, None)
        ]
    for title, results in (("pictures of growing size", grown), ("tiles", tiled)):
        table = Table(*HEADS, title=title)
        for row in cells(results):
            table.add_row(*row)
        Console().print(table)
    facts = {"scale": options.scale, "target": options.target, "arguments": options.more}
    write_report("growth", {"sizes": grown, "tiles": tiled}, folder=options.results, **facts)
    if options.guide:
        intro = (
            f"`loopsr upscale --scale {options.scale}`, JPEG to {options.target}, "
            f"{grown[0]['model']}, {processor()}, {datetime.date.today()}:"
        )
        fill_part(options.guide, "growth", as_markdown([*grown, *tiled], intro))
    return 0


if __name__ == "__main__":
    sys.exit(main())
