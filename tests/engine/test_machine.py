"""Cores and memory as a container really has them, read from made-up system files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopsr.engine import machine


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 cores with 8 GB free, in no control group."""
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    write(tmp_path / "proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    8000000 kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def found(system: Path) -> tuple[int, int]:
    where = {"proc": system / "proc", "cgroup": system / "cgroup"}
    return machine.cores(**where), machine.free_memory(**where)


def test_no_control_group(system: Path) -> None:
    assert found(system) == (8, 8_000_000 * 1024)


def test_version_2_with_a_limit_above(system: Path) -> None:
    write(system / "proc/self/cgroup", "0::/pod/box\n")
    write(system / "cgroup/pod/cpu.max", "150000 100000\n")
    write(system / "cgroup/pod/box/cpu.max", "max 100000\n")
    write(system / "cgroup/pod/box/memory.max", "1000000\n")
    write(system / "cgroup/pod/box/memory.current", "400000\n")
    assert found(system) == (2, 600_000)


def test_version_1(system: Path) -> None:
    write(system / "proc/self/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n")
    write(system / "cgroup/memory/box/memory.limit_in_bytes", "900\n")
    write(system / "cgroup/memory/box/memory.usage_in_bytes", "1000\n")
    write(system / "cgroup/cpu/box/cpu.cfs_quota_us", "50000\n")
    write(system / "cgroup/cpu/box/cpu.cfs_period_us", "100000\n")
    assert found(system) == (1, 0)


def test_version_1_without_limits(system: Path) -> None:
    write(system / "proc/self/cgroup", "4:memory:/box\n3:cpu:/box\n")
    write(system / "cgroup/memory/box/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    write(system / "cgroup/memory/box/memory.usage_in_bytes", "1000\n")
    write(system / "cgroup/cpu/box/cpu.cfs_quota_us", "-1\n")
    assert found(system) == (8, 8_000_000 * 1024)


def test_this_machine() -> None:
    assert machine.cores() >= 1
    assert machine.free_memory() > 0


def test_cpu_facts(tmp_path: Path) -> None:
    write(tmp_path / "cpuinfo", "model name\t: A CPU 9\nflags\t: fpu avx2 avx512_vnni amx_int8\n")
    assert machine.cpu_name(proc=tmp_path) == "A CPU 9"
    assert machine.cpu_features(proc=tmp_path) == ["AVX2", "AVX-512 VNNI", "AMX INT8"]
    write(tmp_path / "cpuinfo", "Features\t: fp asimd asimddp\n")
    assert machine.cpu_features(proc=tmp_path) == ["NEON", "NEON dot product"]
