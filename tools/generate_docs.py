"""Writes again the pages that are taken from the code; a test holds each against its source."""

from __future__ import annotations

from pathlib import Path

from seatrial.check import explanations
from seatrial.control.lifecycle import diagram

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    pages = {"explanation/pod-life-cycle.md": diagram.page(), "reference/properties.md": explanations.page()}
    for name, text in pages.items():
        (ROOT / "docs" / name).write_text(text)
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
