"""``loopsr models``: what networks there are, and the card of one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from loopsr.cli.text import format_bytes, one_line, stdout
from loopsr.errors import WeightsError


@click.command(short_help="List the networks, or show the card of one.")
@click.argument("name", metavar="[NAME|FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of a table.")
def command(name: str | None, as_json: bool) -> int:
    """List the networks that ship with loopsr, or show all that is known of NAME or of a file.

    Scores are PSNR in dB on luma, MATLAB's convention, on the reduced pictures of the set; higher
    is better. A dot marks the network that `loopsr upscale` takes by itself.
    """
    from loopsr.weights import catalogue

    if name is not None:
        record = _record(name)
        click.echo(json.dumps(record, indent=2) if as_json else _card_text(record))
        return 0
    records, damaged = [], 0
    for known in catalogue.names():
        try:
            records.append(_record(known))
        except WeightsError as error:
            damaged += 1
            click.echo(f"loopsr: error: {one_line(str(error))}", err=True)
    records.sort(key=lambda record: (record["scale"], record["name"]))
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        _print_table(records)
    return 1 if damaged else 0


def _record(name: str) -> dict[str, Any]:
    """The card as a dictionary, with its file, that one's size and whether it is a default.

    A name stands for the ONNX file; a path may be of either kind.
    """
    from loopsr.weights import catalogue

    if catalogue.is_path(name):
        card, path = catalogue.read_card(Path(name)), Path(name)
    else:
        card, path = catalogue.find(name)
    return {
        **dataclasses.asdict(card),
        "default": catalogue.DEFAULT.get(card.scale) == name,
        "file": str(path),
        "bytes": path.stat().st_size,
    }


def _print_table(records: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    sets = sorted({key for record in records for key in record["scores"]}, key=_set_order)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("name", no_wrap=True)
    for heading in ("scale", "parameters", "MACs/px", "file", *map(one_line, sets)):
        table.add_column(heading, justify="right", no_wrap=True)
    for record in records:
        macs = record["macs_per_pixel"]
        table.add_row(
            "•" if record["default"] else "",
            one_line(record["name"]),
            f"x{record['scale']}",
            f"{record['parameters']:,}",
            f"{macs:,}" if macs else "",
            format_bytes(record["bytes"]),
            *(_score(record, name) for name in sets),
        )
    console = stdout()
    console.print(table)
    console.print("• taken by default for its scale. Scores: PSNR in dB on luma.", soft_wrap=True)
    console.print("More of one: loopsr models NAME", soft_wrap=True)


def _set_order(name: str) -> tuple[int, str]:
    known = ("Set5", "Set14", "BSD100")
    return (known.index(name) if name in known else len(known), name)


def _score(record: dict[str, Any], name: str) -> str:
    value = record["scores"].get(name, {}).get("psnr_y")
    return "" if value is None else f"{value:.2f}"


def _card_text(record: dict[str, Any]) -> str:
    """One fact a line; nested facts are indented, of several each has a line; no empty ones."""
    lines = []
    for key, value in record.items():
        label = f"{key.replace('_', ' '):14} "
        if value in ("", None, {}):
            continue
        if isinstance(value, dict):
            lines.append(label.rstrip())
            for inner, content in value.items():
                first, *more = _rows(content)
                lines.append(f"  {one_line(inner):12} {_plain(first)}")
                lines += [f"  {'':12} {_plain(row)}" for row in more]
        else:
            lines.append(label + _plain(value))
    return "\n".join(lines)


def _rows(value: Any) -> list[Any]:
    """What of ``value`` has a line of its own: each of several records, else all of it."""
    records = isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    return value if records else [value]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{one_line(key)} {_plain(inner)}" for key, inner in value.items())
    return one_line(str(value))
