"""What this machine, or the container around this process, really lets us use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN_FREE = 2 * 1024**3  # where the system does not tell
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


def cores(*, proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Cores this process may keep busy: its CPU affinity, cut to the quota of its control group."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cpu_quota(proc, cgroup)
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def free_memory(*, proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Bytes that can still be taken: MemAvailable, cut to what the control group has left."""
    free = _mem_available(proc / "meminfo")
    left = [
        max(0, limit - used)
        for folder, most, now in _memory_files(proc, cgroup)
        if (limit := _number(folder / most)) is not None
        and (used := _number(folder / now)) is not None
    ]
    return min([free, *left])


def cpu_name(*, proc: Path = _PROC) -> str:
    """The CPU's own name, or the architecture where the system does not say."""
    for line in _text(proc / "cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_features(*, proc: Path = _PROC) -> list[str]:
    """Vector and matrix units that matter to networks, by the kernel's word."""
    for line in _text(proc / "cpuinfo").splitlines():
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            return [name for flag, name in _FEATURES.items() if flag in flags]
    # Elsewhere nothing lists them, but every 64-bit ARM has NEON.
    return ["NEON"] if platform.machine() in ("arm64", "aarch64") else []


def _mem_available(meminfo: Path) -> int:
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return _UNKNOWN_FREE


def _cpu_quota(proc: Path, cgroup: Path) -> float | None:
    """The least quota, in cores, on the way from this process's group to the root; None if none."""
    quotas = []
    for folder in _groups(proc, cgroup, ""):
        fields = _text(folder / "cpu.max").split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit():
            quotas.append(int(fields[0]) / max(1, int(fields[1])))
    for folder in _groups(proc, cgroup, "cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _memory_files(proc: Path, cgroup: Path) -> Iterator[tuple[Path, str, str]]:
    for folder in _groups(proc, cgroup, ""):
        yield folder, "memory.max", "memory.current"
    for folder in _groups(proc, cgroup, "memory"):
        yield folder, "memory.limit_in_bytes", "memory.usage_in_bytes"


def _groups(proc: Path, cgroup: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and above; version 2 has no controller name."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller not in names.split(","):
            continue
        root = cgroup / controller if controller else cgroup
        folder = root / path.strip("/")
        yield folder
        while folder != root and root in folder.parents:
            folder = folder.parent
            yield folder


def _number(path: Path) -> int | None:
    """The whole number >= 0 in a file; None for "max", "-1" or no such file."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
