"""`seatrial explain`: everything that a verdict names can be asked about."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from seatrial.check import explanations, judge
from seatrial.check.pictures import PICTURES
from seatrial.check.properties import FAMILIES, Parameter, family
from seatrial.cli import explain


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    assert explain.run(parser.parse_args(words)) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_the_overview_has_every_property(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split()[0] for line in told(capsys).splitlines()] == list(judge.NAMES)


@pytest.mark.parametrize("name", judge.NAMES)
def test_each_property_is_told_formally(capsys: pytest.CaptureFixture[str], name: str) -> None:
    text = told(capsys, name)
    assert text.startswith(f"{name}: ")
    assert PICTURES[name].strip("\n").splitlines()[0].strip() in text
    assert "\nformally   " in text
    assert "\nsometimes  " in text


@pytest.mark.parametrize("module", FAMILIES)
def test_a_family_describes_the_properties_that_the_table_names(module: str) -> None:
    assert tuple(each.name for each in family(module).PROPERTIES) == FAMILIES[module]


def test_assumptions_with_a_value_come_with_their_default(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "assumptions")
    for name, meaning in explanations.assumptions().items():
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        assert (f"default: {meaning.default!r}" in line) if isinstance(meaning, Parameter) else meaning in line


def test_a_near_miss_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean rollout/converges?" in told(capsys, "rollout/converge", code=2)


def test_the_reference_page_is_up_to_date() -> None:
    """Regenerate: ./dev docs."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "properties.md"
    assert page.read_text() == explanations.page()
