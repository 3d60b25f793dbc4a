"""``loopsr doctor``: what this machine has, and what to type for what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from typing import Any

import click

from loopsr.cli.text import format_memory
from loopsr.errors import LoopsrError

# What a user may have, and what installs it.
_NEEDED = ("onnxruntime", "pyvips", "numpy", "click", "rich", "safetensors")
_INSTALL = {
    "openvino": "pip install 'loopsr[openvino]'",
    "ncnn": "pip install 'loopsr[ncnn]'",
    "av": "pip install 'loopsr[video]'",
    "torch": "pip install 'loopsr[train]'",
    "onnx": "pip install 'loopsr[train]'",
}
_PACKAGES = (*_NEEDED, *_INSTALL)


@click.command(short_help="Say what this machine has and what is missing.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of text.")
@click.option("--measure", is_flag=True, help="Time the backends again; takes some seconds.")
def command(as_json: bool, measure: bool) -> int:
    """Check the installation and the machine; exit code 1 if upscaling cannot work."""
    facts = examine(measure=measure)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return 1 if facts["problems"] else 0


def examine(*, measure: bool = False) -> dict[str, Any]:
    """All facts as one JSON-able dictionary; ``problems`` lists what stops upscaling."""
    from loopsr.engine.machine import cores, cpu_features, cpu_name, free_memory

    packages = {name: _version(name) for name in _PACKAGES}
    libvips, libvips_problem = _libvips()
    weights = _weights()
    backends = _backends()
    problems = [f"model {name}: {state}" for name, state in weights.items() if state != "ok"]
    if not weights:
        problems.append("no weights are installed; install the package again")
    if libvips_problem:
        problems.append(libvips_problem)
    if not any(state["installed"] for state in backends.values()):
        problems.append("no backend is installed; type: pip install onnxruntime")
    return {
        "loopsr": _version("loopsr") or "not installed, run from source",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cpu_features": cpu_features(),
        "threads": {"machine": os.cpu_count() or 1, "usable": cores()},
        "memory_free": free_memory(),
        "libvips": libvips,
        "packages": packages,
        "backends": backends,
        "choices": _choices(weights, measure=measure),
        "weights": weights,
        "problems": problems,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libvips() -> tuple[str | None, str | None]:
    """Version of libvips, or what is wrong with it."""
    try:
        from loopsr.io.libvips import vips

        module = vips()
        return ".".join(str(module.version(part)) for part in range(3)), None
    except (ImportError, OSError, LoopsrError) as error:
        return None, f"libvips does not load ({error}); type: pip install 'pyvips[binary]'"


def _backends() -> dict[str, dict[str, Any]]:
    from loopsr.engine.backends import BACKENDS, EXTRAS, PRECISIONS, installed

    here = installed()
    return {
        name: {
            "installed": name in here,
            "precisions": PRECISIONS[name],
            "install": f"pip install 'loopsr[{EXTRAS[name]}]'"
            if name in EXTRAS
            else f"pip install {name}",
        }
        for name in BACKENDS
    }


def _choices(weights: dict[str, str], *, measure: bool) -> dict[str, dict[str, Any]]:
    """What --backend auto takes for each model that is taken by default, and why."""
    from loopsr.engine.machine import cores
    from loopsr.engine.networks import AUTO, Networks
    from loopsr.weights import catalogue

    networks = Networks(backend=AUTO, precision=AUTO, threads=cores())
    found = {}
    for name in catalogue.DEFAULT.values():
        if weights.get(name) == "ok":
            choice, rows = networks.choice(networks.card(name), afresh=measure)
            found[name] = {**choice._asdict(), "measured": rows}
    return found


def _weights() -> dict[str, str]:
    """Every model with ``ok`` or what is wrong; opening one checks its hash."""
    from loopsr.weights import catalogue

    states = {}
    for name in catalogue.names():
        try:
            catalogue.onnx_path(name)
            states[name] = "ok"
        except LoopsrError as error:
            states[name] = str(error)
    return states


def _print(facts: dict[str, Any]) -> None:
    threads = facts["threads"]
    rows = [
        ("loopsr", facts["loopsr"]),
        ("python", f"{facts['python']}  {sys.executable}"),
        ("system", facts["system"]),
        ("cpu", facts["cpu"]),
        ("", ", ".join(facts["cpu_features"]) or "no vector units reported"),
        ("threads", f"{threads['usable']} usable of {threads['machine']}"),
        ("memory", f"{format_memory(facts['memory_free'])} free"),
        ("libvips", facts["libvips"] or "does not load"),
    ]
    rows += [
        (
            "package",
            f"{name} {version or 'not installed: ' + _INSTALL.get(name, 'pip install ' + name)}",
        )
        for name, version in facts["packages"].items()
    ]
    rows += [
        ("backend", f"{name} {'ready' if state['installed'] else 'missing: ' + state['install']}")
        for name, state in facts["backends"].items()
    ]
    rows += [("auto", _choice_text(name, choice)) for name, choice in facts["choices"].items()]
    good = [name for name, state in facts["weights"].items() if state == "ok"]
    rows.append(("weights", f"{', '.join(good)}: hash verified" if good else "none"))
    previous = None
    for label, text in rows:
        click.echo(f"{'' if label == previous else label:9} {text}")
        previous = label or previous
    for problem in facts["problems"]:
        click.echo(f"problem   {problem}")
    click.echo("All is well." if not facts["problems"] else "Upscaling will not work as it should.")


def _choice_text(name: str, choice: dict[str, Any]) -> str:
    """One line: what runs a model, and the milliseconds that all candidates took."""
    start = f"{name} runs on {choice['backend']} {choice['precision']}"
    if not choice["measured"]:
        return f"{start}; not measured yet, type: loopsr doctor --measure"
    figures = (f"{row['backend']} {row['precision']} {_figure(row)}" for row in choice["measured"])
    return f"{start}: {', '.join(figures)}"


def _figure(row: dict[str, Any]) -> str:
    from loopsr.engine.choice import is_faithful

    if row["error"] is not None:
        return "fails"
    return f"{row['milliseconds']:.0f} ms" + ("" if is_faithful(row) else " (would show)")
