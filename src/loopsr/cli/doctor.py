"""``loopsr doctor``: what this machine has, and what to type for what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from loopsr.cli.text import format_bytes
from loopsr.errors import LoopsrError

# Flag of the kernel -> what people call it, on x86 and on ARM.
_FEATURES = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "NEON int8 matrix",
    "bf16": "NEON BF16",
    "sve": "SVE",
}
# What a user may have, and what installs it.
_NEEDED = ("onnxruntime", "pyvips", "numpy", "click", "rich", "safetensors")
_INSTALL = {
    "av": "pip install 'loopsr[video]'",
    "torch": "pip install 'loopsr[train]'",
    "onnx": "pip install 'loopsr[train]'",
}
_PACKAGES = (*_NEEDED, *_INSTALL)


@click.command(short_help="Say what this machine has and what is missing.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of text.")
def command(as_json: bool) -> int:
    """Check the installation and the machine; exit code 1 if upscaling cannot work."""
    facts = examine()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return 1 if facts["problems"] else 0


def examine() -> dict[str, Any]:
    """All facts as one JSON-able dictionary; ``problems`` lists what stops upscaling."""
    from loopsr.engine.machine import cores, free_memory

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
        "weights": weights,
        "problems": problems,
    }


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's own name, or the architecture where the system does not say."""
    for line in _lines(cpuinfo):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Vector and matrix units that matter to networks, by the kernel's word."""
    for line in _lines(cpuinfo):
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            return [name for flag, name in _FEATURES.items() if flag in flags]
    # Elsewhere nothing lists them, but every 64-bit ARM has NEON.
    return ["NEON"] if platform.machine() in ("arm64", "aarch64") else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


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
    from loopsr.engine.backends import BACKENDS

    return {
        name: {
            "installed": importlib.util.find_spec(name) is not None,
            "install": _INSTALL.get(name, f"pip install {name}"),
        }
        for name in BACKENDS
    }


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
        ("memory", f"{format_bytes(facts['memory_free'])} free"),
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
    good = [name for name, state in facts["weights"].items() if state == "ok"]
    rows.append(("weights", f"{', '.join(good)}: hash verified" if good else "none"))
    previous = None
    for label, text in rows:
        click.echo(f"{'' if label == previous else label:9} {text}")
        previous = label or previous
    for problem in facts["problems"]:
        click.echo(f"problem   {problem}")
    click.echo("All is well." if not facts["problems"] else "Upscaling will not work as it should.")
