"""What is to be said about properties and assumptions, for `seatrial explain` and the reference page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from seatrial.check.pictures import PICTURES
from seatrial.check.properties import FAMILIES, Parameter, Property, family


def properties() -> Iterator[Property]:
    return (each for name in FAMILIES for each in family(name).PROPERTIES)


def assumptions() -> dict[str, str | Parameter]:
    return {name: meaning for module in FAMILIES for name, meaning in family(module).ASSUMPTIONS.items()}


def overview() -> str:
    """Every property in a line."""
    longest = max(len(each.name) for each in properties())
    return "\n".join(f"{each.name:<{longest}}  {each.asks}" for each in properties())


def of_property(found: Property) -> str:
    parts = [f"{found.name}: {found.asks}"]
    parts.append(textwrap.indent(PICTURES[found.name].strip("\n"), "    "))
    parts.append(f"formally   {found.formally}\nasked      {found.premise}\nsometimes  {found.sometimes}")
    return "\n\n".join(parts)


def of_assumptions() -> str:
    """Those with a value first, for they can be set."""
    known = assumptions()
    longest = max(map(len, known))
    settable = {name: meaning for name, meaning in known.items() if isinstance(meaning, Parameter)}
    lines = []
    if settable:
        lines += ["These have a value, which [assume] in seatrial.toml sets:", ""]
        for name, meaning in settable.items():
            told = meaning.text.format(value=meaning.default)
            lines.append(f"  {name:<{longest}}  {told} (default: {meaning.default!r})")
        lines.append("")
    lines += ["These hold wherever a verdict lists them:", ""]
    lines += [f"  {name:<{longest}}  {text}" for name, text in known.items() if isinstance(text, str)]
    return "\n".join(lines)


_HEAD = """\
# Properties

What `seatrial check` asks, each by default wherever its premise holds. `GF p`: again and again, for ever; a run is fair
if what could always be done is done at some time. *Sometimes* is what must have been reached for a proof to be about
something; where it was not, the answer is unknown. This page is written by `./dev docs`.
"""
_ASSUMPTIONS = """\
# Assumptions

Each verdict lists those that it rests on. One with a value is set under `[assume]` in
[seatrial.toml](seatrial.toml.md).

| name | default | what it says |
|---|---|---|
"""


def page() -> str:
    """The reference page, in Markdown."""
    text = _HEAD
    for found in properties():
        text += f"\n## {found.name}\n\n{found.asks[0].upper()}{found.asks[1:]}\n\n"
        text += "```text\n" + PICTURES[found.name].strip("\n") + "\n```\n\n"
        rows = {"formally": found.formally, "asked": found.premise, "sometimes": found.sometimes}
        text += "| | |\n|---|---|\n" + "".join(f"| {name} | {_cell(told)} |\n" for name, told in rows.items())
    text += f"\n{_ASSUMPTIONS}"
    for name, meaning in assumptions().items():
        if isinstance(meaning, Parameter):
            text += f"| `{name}` | `{meaning.default!r}` | {_cell(meaning.text.format(value='N'))} |\n"
        else:
            text += f"| `{name}` | | {_cell(meaning)} |\n"
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
