"""From what was typed to files: folders, globs, lists."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from loopsr.apps.batch.inputs import Source, find_inputs
from loopsr.errors import UsageError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `in` with pictures in it and below, and what is to be passed over."""
    for name in (
        "in/b.png",
        "in/a.JPG",
        "in/notes.txt",
        "in/.hidden.png",
        "in/.thumbs/t.png",
        "in/deep/er/c.webp",
        "in/deep/d.tif",
        "other/e.gif",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = [
    Source("in/a.JPG"),
    Source("in/b.png"),
    Source("in/deep/d.tif", "deep"),
    Source("in/deep/er/c.webp", "deep/er"),
]


def test_folders(tree: Path) -> None:
    found = find_inputs(["in"], recursive=True)
    assert (found.sources, found.left_out, found.folders) == (ALL, 1, True)
    for name in ("in/", "./in", str(tree / "in")):
        below = [source.below for source in find_inputs([name], recursive=True).sources]
        assert below == ["", "", "deep", "deep/er"]
    assert find_inputs(["in"]).sources == [Source("in")]  # told by the worker, without -r
    found = find_inputs(["other", "in/b.png"], recursive=True)
    assert found.sources == [Source("other/e.gif"), Source("in/b.png")]


def test_links_to_folders_are_not_followed_and_links_to_files_are(tree: Path) -> None:
    (tree / "in/loop").symlink_to("..")
    (tree / "in/link.png").symlink_to("b.png")
    paths = [source.path for source in find_inputs(["in"], recursive=True).sources]
    assert paths == ["in/a.JPG", "in/b.png", "in/link.png", "in/deep/d.tif", "in/deep/er/c.webp"]
    matched = [source.path for source in find_inputs(["in/**/*.*"]).sources]
    assert matched == ["in/a.JPG", "in/b.png", "in/deep/d.tif", "in/deep/er/c.webp", "in/link.png"]


def test_results_below_the_inputs_are_no_inputs(tree: Path) -> None:
    (tree / "in/out/x").mkdir(parents=True)
    (tree / "in/out/a_x4.jpg").touch()
    (tree / "in/out/x/c_x4.webp").touch()
    for output in ("in/out", "in/out/", str(tree / "in/deep/../out")):
        assert find_inputs(["in"], recursive=True, output=output).sources == ALL
        assert len(find_inputs(["in/**/*.webp"], output=output).sources) == 1
    assert len(find_inputs(["in"], recursive=True, output="elsewhere").sources) == 6
    with pytest.raises(UsageError, match="inputs the next time"):
        find_inputs(["in"], recursive=True, output="./in")


def test_globs(tree: Path) -> None:
    assert find_inputs(["in/*.png"]).sources == [Source("in/b.png")]
    assert find_inputs(["in/*"]).sources == ALL[:2]
    assert find_inputs(["in/*"]).left_out == 1
    assert find_inputs(["*/*/*.tif"]).sources == [Source("in/deep/d.tif")]  # flat, as shells do
    assert find_inputs(["in/**/*.tif"]).sources == [Source("in/deep/d.tif", "deep")]
    assert find_inputs(["in/**"]).sources == ALL
    assert find_inputs(["**/[cd].*"]).sources == [
        Source("in/deep/d.tif", "in/deep"),
        Source("in/deep/er/c.webp", "in/deep/er"),
    ]
    assert find_inputs(["in/*.txt"]).sources == [Source("in/notes.txt")]  # asked for by name
    assert find_inputs(["in/*.png"], output="in").sources == [Source("in/b.png")]
    assert find_inputs(["in/.thumbs/*"]).sources == [Source("in/.thumbs/t.png")]
    assert find_inputs(["in/**/.h*"]).sources == [Source("in/.hidden.png")]
    assert find_inputs([f"{tree}/in/**/c*"]).sources[0].below == "deep/er"


def test_a_name_that_looks_like_a_glob_is_a_name(tree: Path) -> None:
    (tree / "in/[ab].png").touch()
    (tree / "@home.png").touch()
    assert find_inputs(["in/[ab].png"]).sources == [Source("in/[ab].png")]
    assert find_inputs(["@home.png"]).sources == [Source("@home.png")]


def test_lists(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "list.txt").write_bytes("in/b.png\r\n\n# a comment\nin/gone ü.png\nin/*.png".encode())
    found = find_inputs(["@list.txt"])
    assert [s.path for s in found.sources] == ["in/b.png", "in/gone ü.png", "in/*.png"]
    assert found.folders
    (tree / "list.txt").write_bytes(b"in\n")
    assert find_inputs(["@list.txt"], recursive=True).sources == ALL
    (tree / "list.txt").write_bytes(b"new\nline.png\0# name.png\0\xff.png\0")
    names = [source.path for source in find_inputs(["@list.txt"]).sources]
    assert names == ["new\nline.png", "# name.png", os.fsdecode(b"\xff.png")]
    stdin = SimpleNamespace(buffer=io.BytesIO(b"a.png\nb.png\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert find_inputs(["@-"]).sources == [Source("a.png"), Source("b.png")]


def test_what_names_no_picture(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopsr.apps.batch import inputs

    (tree / "empty").mkdir()
    (tree / "list.txt").touch()
    for argument, said in (
        ("empty", "holds no picture"),
        ("in/*.gif", "no file matches"),
        ("in/**.png", "is no pattern"),
        ("@gone.txt", "cannot be read"),
        ("@in", "cannot be read"),
        ("@list.txt", "names no picture"),
    ):
        with pytest.raises(UsageError, match=said):
            find_inputs([argument], recursive=True)
    (tree / "list.txt").write_text("in/b.png\n")
    monkeypatch.setattr(inputs, "_MAX_LIST", 4)
    with pytest.raises(UsageError, match="cut it in parts"):
        find_inputs(["@list.txt"])


def test_a_folder_that_may_not_be_listed_does_not_stop_the_rest(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def guarded(path: str) -> object:
        if str(path) == "in/deep":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", guarded)  # root may list every folder
    assert find_inputs(["in"], recursive=True).sources == [*ALL[:2], Source("in/deep")]
