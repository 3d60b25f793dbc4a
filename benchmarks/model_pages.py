"""docs/models, written from the cards inside the weight files.

    python benchmarks/model_pages.py [--check]

With --check it writes nothing, and ends with exit code 1 when a page is not in step.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from loopsr.card import ModelCard
from loopsr.weights import catalogue

PAGES = Path(__file__).parents[1] / "docs" / "models"
_NOTE = "<!-- Written by benchmarks/model_pages.py from the cards; do not edit by hand. -->"
_METRICS = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
_SETS = ("Set5", "Set14", "BSD100")
_OUTPUT = (1280, 720)  # the size that papers count multiply-accumulates for


def pages() -> dict[str, str]:
    """File name to text: one page a network, and README.md over all of them."""
    cards = [catalogue.find(name)[0] for name in catalogue.names()]
    cards.sort(key=lambda card: (card.network, card.scale, card.name))
    networks = sorted({card.network for card in cards})
    texts = {f"{n}.md": _network([c for c in cards if c.network == n]) for n in networks}
    return {"README.md": _overview(cards)} | texts


def write_pages(folder: Path = PAGES) -> None:
    """Write all pages, and remove those of networks that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = pages()
    for path in folder.glob("*.md"):
        if path.name not in texts and path.read_text(encoding="utf-8").startswith(_NOTE):
            path.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def stale_pages(folder: Path = PAGES) -> list[str]:
    """Names of the pages that differ from what the cards say."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def _overview(cards: list[ModelCard]) -> str:
    lines = [_NOTE, "# Networks", "", *_figures(cards, linked=True), "", *_legend(cards), ""]
    lines += ["`loopsr models NAME` prints the card of one, `--json` with every field.", ""]
    return "\n".join(lines)


def _network(cards: list[ModelCard]) -> str:
    name = cards[0].network
    lines = [_NOTE, f"# {name}", "", *_descriptions(cards), ""]
    if cards[0].paper:
        lines += [f"Paper: {cards[0].paper}", ""]
    lines += ["## Figures", "", *_figures(cards), "", *_legend(cards), ""]
    lines += ["## Quality", "", *_quality(cards), ""]
    lines += ["## Training", "", *_training(cards), ""]
    lines += ["Networks: [all](README.md)", ""]
    return "\n".join(lines)


def _descriptions(cards: list[ModelCard]) -> list[str]:
    """What the cards say of themselves, and of whom, where they do not all say the same."""
    names: dict[str, list[str]] = {}
    for card in cards:
        names.setdefault(card.description, []).append(f"`{card.name}`")
    if len(names) == 1:
        return list(names)
    return [f"- {', '.join(told)}: {description}" for description, told in names.items()]


def _figures(cards: list[ModelCard], *, linked: bool = False) -> list[str]:
    heads = ["parameters", "MACs", "halo", "steps", "time", "memory", "file", *_SETS]
    rows = []
    for card in cards:
        measured = card.measured
        name = f"[`{card.name}`]({card.network}.md)" if linked else f"`{card.name}`"
        time, memory = measured.get("milliseconds"), measured.get("memory_mb")
        rows.append(
            [
                name,
                f"{card.parameters:,}",
                _macs(card),
                "whole picture" if card.halo is None else f"{card.halo} px",
                card.iters or "",
                "" if time is None else f"{time:.0f} ms",
                "" if memory is None else f"{memory} MB",
                f"{catalogue.onnx_path(card.name).stat().st_size / 1000:.0f} kB",
                *(_score(card, name, "psnr_y") for name in _SETS),
            ]
        )
    return _table(["", *heads], rows)


def _legend(cards: list[ModelCard]) -> list[str]:
    width, height = _OUTPUT
    lines = [
        f"MACs: multiply-accumulates for {width}x{height} pixels out. Halo: input pixels on each "
        "side that an output pixel depends on. The sets: PSNR in dB on luma; conventions are in "
        "[evaluation.md](../guide/evaluation.md)."
    ]
    how = {
        f"{m['input']} pixels in, threads: {m['threads']}, {m['runtime']}, {m['processor']}, "
        f"{m['date']}"
        for m in (card.measured for card in cards)
        if m
    }
    if how:
        lines += ["", f"Time and memory that a run adds: {'; '.join(sorted(how))}."]
    return lines


def _quality(cards: list[ModelCard]) -> list[str]:
    rows = [
        [f"`{card.name}`", name, *(_score(card, name, key) for key in _METRICS)]
        for card in cards
        for name in sorted(card.scores, key=_set_order)
    ]
    return _table(["", "set", "PSNR luma", "SSIM luma", "PSNR RGB", "SSIM RGB"], rows)


def _training(cards: list[ModelCard]) -> list[str]:
    lines: list[str] = []
    names: dict[str, list[str]] = {}  # of the networks that learned from the same
    for card in cards:
        if card.data:
            names.setdefault(card.data.rstrip("."), []).append(f"`{card.name}`")
    for text, whose in names.items():
        of = f" of {', '.join(whose)}" if len(names) > 1 else ""
        lines += [f"Data{of}: {text}.", ""]
    licences = ", ".join(dict.fromkeys(card.licence for card in cards))
    lines += [f"Licence of the weights: {licences}.", ""]
    rows = [
        [
            f"`{card.name}`",
            card.degradation,
            _number(card.training.get("steps")),
            _number(card.training.get("hours")),
            ", ".join(f"{key} {value}" for key, value in sorted(card.config.items())),
        ]
        for card in cards
    ]
    return lines + _table(["", "degradation", "steps", "hours", "configuration"], rows)


def _table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    """A Markdown table without the columns that are empty."""
    kept = [i for i in range(len(heads)) if i == 0 or any(str(row[i]) for row in rows)]
    lines = [[heads[i] for i in kept], ["---"] * len(kept)]
    lines += [[str(row[i]) for i in kept] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _macs(card: ModelCard) -> str:
    if card.macs_per_pixel is None:
        return ""
    pixels = _OUTPUT[0] * _OUTPUT[1] / card.scale**2
    return f"{card.macs_per_pixel * pixels / 1e9:.1f} G"


def _score(card: ModelCard, name: str, key: str) -> str:
    value = card.scores.get(name, {}).get(key)
    return "" if value is None else f"{value:.{2 if key.startswith('psnr') else 4}f}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else ""


def _set_order(name: str) -> tuple[int, str]:
    return (_SETS.index(name) if name in _SETS else len(_SETS), name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, tell what is stale")
    options = parser.parse_args()
    if options.check:
        stale = stale_pages()
        print("\n".join(f"{PAGES / name} is not in step with the cards" for name in stale))
        return 1 if stale else 0
    write_pages()
    return 0


if __name__ == "__main__":
    sys.exit(main())
