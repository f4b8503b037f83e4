"""What a run was made on, since a bare time means nothing without it."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine.

    Attributes:
      cpu: name, clock and vector units of the processor as far as it tells.
      cores: that the run may use.
      system: operating system.
      python: version.
    """

    cpu: str
    cores: int
    system: str
    python: str


def this_machine() -> Machine:
    """The one that runs this."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cpu=_cpu(), cores=cores, system=platform.system(), python=platform.python_version())


def _cpu() -> str:
    if not CPU_INFO.exists():
        return platform.processor() or platform.machine()
    lines = CPU_INFO.read_text(encoding="utf-8").split("\n\n")[0].splitlines()  # of the first core
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", "").split())
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    clock = f"{float(fields['cpu MHz']) / 1000:.1f} GHz" if "cpu MHz" in fields else ""
    return ", ".join(text for text in (fields.get("model name", platform.machine()), clock, vectors) if text)
