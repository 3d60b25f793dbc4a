"""Files at addresses: on a real S3 server, and in a store that keeps no notes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from loopsr.errors import ImageReadError, ImageWriteError, MissingExtraError, UsageError
from loopsr.io import remote

AWKWARD = "a folder/x y#z?ü [1]%20+&.png"


@pytest.mark.parametrize(
    ("name", "address", "shared"),
    [
        ("s3://bucket/a.png", True, True),
        ("GS://bucket/a.png", True, True),
        ("memory://a.png", True, True),
        ("file:///a.png", False, True),
        ("FILE:///a.png", False, True),
        ("local:///a.png", False, True),
        ("a.png", False, False),
        ("./s3://bucket/a.png", False, False),
        ("s3:/bucket/a.png", False, False),
        ("C://a.png", False, False),  # a drive
        ("-", False, False),
        ("my folder://a.png", False, False),
        (" s3://bucket/a.png", False, False),
        ("", False, False),
    ],
)
def test_an_address_is_never_taken_for_a_path_nor_a_path_for_an_address(
    name: str, address: bool, shared: bool
) -> None:
    assert remote.is_address(name) is address
    assert remote.is_shared(name) is shared


def test_a_path_is_no_address() -> None:
    assert not remote.is_address(Path("s3://bucket/a.png"))


def test_file_addresses_are_paths() -> None:
    assert remote.without_file_scheme("file:///a/b%20c.png") == "/a/b%20c.png"
    assert remote.without_file_scheme("a/b.png") == "a/b.png"
    assert remote.without_file_scheme("s3://a/b.png") == "s3://a/b.png"
    for name in ("file://host/a.png", "file://a.png", "file://"):
        with pytest.raises(UsageError, match="file:///"):
            remote.without_file_scheme(name)


@pytest.mark.parametrize("name", ["plain.png", "deep/er/x.png", AWKWARD])
def test_there_and_back(bucket: str, tmp_path: Path, name: str) -> None:
    address = f"{bucket}/{name}"
    assert remote.status(address) is None
    assert remote.note_of(address) is None
    (tmp_path / "one").write_bytes(b"hello")
    remote.send(tmp_path / "one", address, note='{"a": 1}')
    status = remote.status(address)
    assert status is not None
    assert (status.bytes, status.folder) == (5, False)
    assert remote.note_of(address) == '{"a": 1}'
    assert remote.list_files(bucket) == [address]
    remote.fetch(address, tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"hello"
    # Another content has another tag, and takes its note away.
    (tmp_path / "one").write_bytes(b"HELLO")
    remote.send(tmp_path / "one", address)
    changed = remote.status(address)
    assert changed is not None
    assert changed.tag != status.tag
    assert remote.note_of(address) is None


def test_lists_and_globs(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for name in ("a/1.png", "a/b/2.png", "ab/3.png", "a/b/4.jpg"):
        remote.send(tmp_path / "x", f"{bucket}/{name}")

    def listed(folder: str) -> list[str]:
        return [name.removeprefix(f"{bucket}/") for name in remote.list_files(f"{bucket}/{folder}")]

    assert listed("a") == listed("a/") == ["a/1.png", "a/b/2.png", "a/b/4.jpg"]  # not ab/
    assert listed("") == ["a/1.png", "a/b/2.png", "a/b/4.jpg", "ab/3.png"]
    assert remote.match_files(f"{bucket}/**/*.png") == [
        f"{bucket}/{name}" for name in ("a/1.png", "a/b/2.png", "ab/3.png")
    ]
    assert remote.match_files(f"{bucket}/*.png") == []
    folder = remote.status(f"{bucket}/a")
    assert folder is not None
    assert folder.folder


def test_a_store_without_notes_gets_the_file_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("memory")
    system.store.clear()
    (tmp_path / "x").write_bytes(b"x" * 1000)
    address = "memory://folder/x.png"
    seen: list[set[str]] = []
    put = type(system).put_file

    def watched(self: object, source: str, target: str) -> None:
        put(self, source, target)
        seen.append(set(system.store))

    monkeypatch.setattr(type(system), "put_file", watched)
    remote.send(tmp_path / "x", address, note="lost")
    assert not remote.keeps_notes(address)
    assert remote.note_of(address) is None
    # While it was sent there was nothing under its name; afterwards there is nothing else.
    assert seen == [{"/folder/.x.png.loopsr.part"}]
    assert set(system.store) == {"/folder/x.png"}
    assert remote.list_files("memory://folder") == ["memory://folder/x.png"]


@pytest.mark.parametrize(
    ("work", "kind", "text"),
    [
        (lambda b, p: remote.fetch(f"{b}/no.png", p), ImageReadError, "no such file"),
        (lambda b, p: remote.fetch(f"{b}/folder", p), ImageReadError, "this is a folder"),
        (lambda b, p: remote.list_files("s3://no-such-bucket/a"), ImageReadError, "no such"),
        (lambda b, p: remote.send(p, "s3://no-such-bucket/a"), ImageWriteError, "make it first"),
        (lambda b, p: remote.status("s4://bucket/a"), UsageError, "s3://"),
    ],
)
def test_failures_are_told_in_one_line(
    bucket: str,
    tmp_path: Path,
    work: Callable[[str, Path], object],
    kind: type[Exception],
    text: str,
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    remote.send(tmp_path / "x", f"{bucket}/folder/x.png")
    with pytest.raises(kind, match=text) as caught:
        work(bucket, tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"loopsr\[gs\]"):
        remote.status("gs://bucket/a.png")
