"""A check that takes long tells a terminal how far it is, and ends when its time is over."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest

from seatrial import cli
from seatrial.check import explore
from seatrial.cli import progress

SHOP = str(Path(__file__).parents[2] / "examples" / "shop")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Endless:
    initial = 0

    def moves(self, state: int) -> list[tuple[str, int]]:
        return [("on", state + 1)]


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_only_a_terminal_is_told_and_its_line_is_wiped_away(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = kind()
    seconds = iter(range(1000))
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    with progress.budget(20) as budget:
        graph = explore.explore(Endless(), budget.about("Deployment default/web"))
    assert graph.spent == "time"
    if kind is Terminal:
        assert "Deployment default/web: " in written.getvalue()
        assert " s of 20" in written.getvalue()
        assert written.getvalue().endswith("\r\x1b[K")
    else:
        assert not written.getvalue()


def test_what_is_not_decided_in_time_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", SHOP, "--only", "rollout/converges", "--seconds", "0"]) == 2
    assert "the budget (time) ran out" in capsys.readouterr().out
