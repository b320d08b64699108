"""A container's account in its cgroup, in both versions of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.node.linux import accounting, machine
from seatrial.node.linux.accounting import Account


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    return tmp_path


def write(files: dict[str, str], top: Path) -> None:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)


def test_unified(cgroups: Path) -> None:
    """The working set is what is used without the pages that could go at once (inactive_file), as cAdvisor has it."""
    (cgroups / "cgroup.controllers").touch()
    files = {"cpu.stat": "usage_usec 2500000\nuser_usec 1\n", "memory.current": "1000\n"}
    write({f"x/pod1/c1/{name}": text for name, text in files.items()}, cgroups)
    write({"x/pod1/c1/memory.stat": "anon 600\ninactive_file 300\n"}, cgroups)
    assert accounting.account("/x/pod1/c1") == Account(2.5, 700)


def test_version_one(cgroups: Path) -> None:
    write({"cpuacct/x/c1/cpuacct.usage": "1500000000\n", "memory/x/c1/memory.usage_in_bytes": "100\n"}, cgroups)
    write({"memory/x/c1/memory.stat": "total_inactive_file 400\n"}, cgroups)
    assert accounting.account("/x/c1") == Account(1.5, 0)


def test_gone(cgroups: Path) -> None:
    assert accounting.account("/x/c2") is None
