"""The life cycle of a container, drawn (mermaid) and listed from the transition table."""

from __future__ import annotations

from seatrial.control.lifecycle.transitions import TRANSITIONS, Effect, State


def mermaid() -> str:
    """A mermaid `stateDiagram-v2` of the transition table."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.WAITING.value}"]
    for row in TRANSITIONS:
        label = row.event if row.effect is Effect.NOTHING else f"{row.event} / {row.effect.value}"
        lines.append(f"    {row.source.value} --> {row.target.value}: {label}")
    lines.append(f"    {State.TERMINATED.value} --> [*]")
    return "\n".join(lines)


def page() -> str:
    """docs/reference/pod-life-cycle.md, whole."""
    rows = "\n".join(
        f"| {row.source.value} | {row.event} | {row.effect.value or '-'} | {row.target.value} | {row.reason or '-'} |"
        for row in TRANSITIONS
    )
    return f"""# The life cycle of a container

This page is generated from the transition table in `seatrial/control/lifecycle/transitions.py`, which the nodes execute
and the checker reasons about. In each state the first row that applies is taken.

```mermaid
{mermaid()}
```

| from | when | asks the runtime | to | reason shown |
|---|---|---|---|---|
{rows}
"""
