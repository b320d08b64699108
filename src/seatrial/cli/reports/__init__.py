"""The report of a check in the forms that people and tools read; each module offers `render(report) -> str`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from seatrial.check.verdicts import Report

FORMATS: Final = ("text", "json", "sarif", "junit", "github", "markdown")


def render(form: str, report: Report) -> str:
    """The report in one of the forms for machines."""
    if form == "json":
        import msgspec

        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    text: str = import_module(f"{__name__}.{form}").render(report)
    return text
