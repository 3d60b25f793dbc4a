"""The command ``loopsr``: a table of subcommands, each imported only when it is used.

Only this file turns errors into messages and exit codes, so that every subcommand answers alike.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from loopsr.cli.group import LazyGroup
from loopsr.cli.text import one_line
from loopsr.errors import LoopsrError

# name, module with an attribute `command`, help. One line a subcommand.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("upscale", "loopsr.cli.upscale", "Enlarge pictures and videos."),
    ("demo", "loopsr.cli.demo", "Upscale a sample picture and compare it with bicubic."),
    ("models", "loopsr.cli.models", "List the networks, or show the card of one."),
    ("doctor", "loopsr.cli.doctor", "Say what this machine has and what is missing."),
    ("train", "loopsr.cli.train", "Train a network on your own pictures."),
    ("eval", "loopsr.cli.eval", "Measure a network on folders of pictures."),
    ("bench", "loopsr.cli.bench", "Time networks beside the machine's limit."),
    ("compare", "loopsr.cli.compare", "Lay networks side by side on one page."),
)

# What makes a subcommand need less memory; the others have no option for it.
LESS_MEMORY = {
    "upscale": "pass --max-memory 500M",
    "train": "pass a smaller batch, such as --set batch=8",
    "eval": "leave large pictures out of --data",
    "bench": "pass a smaller --size",
    "compare": "pass a smaller --max-pixels",
}

INTERRUPTED = 130

EPILOG = """\b
Exit codes:
  0    all done
  1    some failed; each failure is one line on stderr
  2    wrong usage; nothing was computed
  130  interrupted; nothing half-written is left behind

\b
Examples:
  loopsr demo
  loopsr upscale photo.jpg
  loopsr upscale --scale 2 --format png -o big/ *.jpg
"""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, value: _print_version(ctx) if value else None,
    help="Show the version and exit.",
)
def cli() -> None:
    """Enlarge pictures and videos with networks of fewer than 75,000 parameters, on any CPU."""


def _print_version(ctx: click.Context) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"loopsr {version('loopsr')}")
    except PackageNotFoundError:
        click.echo("loopsr, run from source without installation")
    ctx.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises for what a user can cause."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = cli.main(args=argv, prog_name="loopsr", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        return _usage(error)
    except LoopsrError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; nothing half-written was left", INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`loopsr models | head -1`): no message, and none at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail(_out_of_memory(sys.argv[1:] if argv is None else argv), 1)
    except OSError as error:
        return _fail(f"{error}; check the path, the permissions and the free space", 1)


def _interrupt(number: int, frame: Any) -> None:
    """A polite kill ends like Ctrl-C: with everything tidied up."""
    raise KeyboardInterrupt


def _out_of_memory(arguments: Sequence[str]) -> str:
    name = next(iter(arguments), "")  # the group has no option that takes a value
    way = f"{LESS_MEMORY[name]} or " if name in LESS_MEMORY else ""
    return f"out of memory; {way}close other programs"


def _usage(error: click.ClickException) -> int:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        near = " or ".join(error.possibilities[:2])
        message = f"option {error.option_name} is unknown; did you mean {near}?"
    context = getattr(error, "ctx", None)
    where = f"{context.command_path if context else 'loopsr'} --help"
    return _fail(f"{message.rstrip('.')}; see {where}", error.exit_code)


def _fail(message: str, code: int) -> int:
    # stderr may be gone too; the exit code still tells.
    with contextlib.suppress(OSError):
        print(f"loopsr: error: {one_line(message)}", file=sys.stderr)
    return code
