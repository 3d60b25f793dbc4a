"""Where the cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopsr.io.cache import cache_folder


def test_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOOPSR_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "general"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("LOOPSR_CACHE")
    assert cache_folder() == tmp_path / "general" / "loopsr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "loopsr"
