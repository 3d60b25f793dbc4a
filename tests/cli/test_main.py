"""The group itself: quick help, near names, one line for an error, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from loopsr import cli
from loopsr.cli import main
from loopsr.cli.group import LazyGroup
from loopsr.errors import Cancelled, ImageReadError, UsageError

SLOW = ("numpy", "onnxruntime", "pyvips", "torch", "rich")


def modules_after(*arguments: str, before: str = "") -> set[str]:
    """Names in sys.modules after a run of the command."""
    code = f"""
import sys
{before}
from loopsr.cli import main
main({list(arguments)!r})
print("\\nMODULES", *sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["upscale", "--help"]])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & set(SLOW)


def test_help_import_check_can_fail() -> None:
    assert modules_after("--help", before="import rich") & set(SLOW) == {"rich"}


def test_help_names_every_subcommand_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name, _, _ in cli.COMMANDS)
    assert all(f"\n  {code} " in text or f"\n    {code} " in text for code in (0, 1, 2, 130))


@pytest.mark.parametrize("row", cli.COMMANDS, ids=lambda row: row[0])
def test_every_row_of_the_table_is_a_command(row: tuple[str, str, str]) -> None:
    name, _, text = row
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    assert command.get_short_help_str(200), name
    assert text.endswith(".")


def test_every_file_of_a_subcommand_is_in_the_table() -> None:
    folder = Path(cli.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\ndef command(" in path.read_text()}
    assert files == {module.rpartition(".")[2] for _, module, _ in cli.COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["upscal"], "did you mean upscale?"),
        (["upscale", "--scael", "2", "a.png"], "--scale"),
        (["upscale", "a.png", "--format", "jpgg"], "did you mean jpeg"),
        (["upscale"], "IN..."),
        (["upscale", "a.png", "--tile", "0"], "at least 1"),
        (["upscale", "a.png", "--encoding-quality", "101"], "from 1 to 100"),
        (["upscale", "a.png", "--scale", "1"], "above 1 and up to 16"),
        (["upscale", "a.png", "--scale", "nan"], "above 1 and up to 16"),
        (["upscale", "a.png", "--scale", "2", "--width", "9"], "contradict"),
        (["upscale", "a.png", "--max-memory", "2 apples"], "500M or 2G"),
        (["upscale", "a.png", "-o", "a.jpg", "--format", "png"], "drop one of the two"),
        (["upscale", "a.png", "-o", "a.xyz"], "does not say the format"),
        (["upscale", "a.png", "-o", "-", "--json"], "cannot take both"),
        (["upscale", "a.png", "-", "-o", "x/"], "only input"),
        (["upscale", "a.png", "-o", "a.png"], "never overwritten"),
        (["upscale", "a/p.png", "b/p.png", "-o", "c/"], "would both become"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("loopsr: error: ")
    assert captured.err.count("\n") == 1
    assert hint in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImageReadError("a\nb"), 1),
        (UsageError("x"), 2),
        (Cancelled("x"), 130),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: click.Command("doctor", callback=fail))
    assert main(["doctor"]) == code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", [name for name, _, _ in cli.COMMANDS])
def test_advice_on_memory_is_of_the_subcommand(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**options: object) -> None:
        raise MemoryError

    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    failing = click.Command(name, callback=fail)
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: failing)
    assert main([name]) == 1
    words = capsys.readouterr().err.split()
    named = {word for word in words if word.startswith("--")}
    assert named <= known
    assert bool(named) == (name in cli.LESS_MEMORY)
    assert " ".join(words).endswith("close other programs")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: click.Command("doctor", callback=fail))
    with pytest.raises(AssertionError, match="a bug"):
        main(["doctor"])


def test_a_closed_pipe_is_quiet() -> None:
    script = (
        f"{sys.executable} -m loopsr --help | true; {sys.executable} -m loopsr --help | head -1"
    )
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert run.stdout.startswith("Usage: loopsr")
