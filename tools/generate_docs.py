"""Writes again the pages that are taken from the code; a test holds each against its source."""

from __future__ import annotations

from pathlib import Path

from seatrial.control.lifecycle import diagram

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    page = ROOT / "docs" / "explanation" / "pod-life-cycle.md"
    page.write_text(diagram.page())
    print(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
