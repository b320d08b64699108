"""The life cycle of a container, drawn (mermaid) and written out from the transition table and the invariants."""

from __future__ import annotations

from seatrial.control.lifecycle import admission, configuration, pressure, rejection, shutdown
from seatrial.control.lifecycle.facts import StopReason
from seatrial.control.lifecycle.invariants import INVARIANTS
from seatrial.control.lifecycle.transitions import TRANSITIONS, Effect, Resize, Role, State
from seatrial.kube.objects import Pod


def mermaid() -> str:
    """A mermaid `stateDiagram-v2` of the transition table."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.WAITING.value}"]
    for row in TRANSITIONS:
        label = row.event if row.effect is Effect.NOTHING else f"{row.event} / {row.effect.value}"
        lines.append(f"    {row.source.value} --> {row.target.value}: {label}")
    lines.append(f"    {State.TERMINATED.value} --> [*]")
    return "\n".join(lines)


def page() -> str:
    """docs/explanation/pod-life-cycle.md, whole."""
    tables = "\n".join(_table(state) for state in State)
    roles = ", ".join(f"*{role.value}*" for role in Role)
    stops = "\n".join(f"* `{reason.name}`: {reason.value}" for reason in StopReason)
    resizes = ", ".join(each.value for each in Resize if each.value)
    conditions = ", ".join(sorted({condition for _, condition in configuration.SIGNALS.values()}))
    refused = (
        rejection.of(Pod(), ("DiskPressure",), shutting_down=False),
        rejection.of(Pod(), (), shutting_down=True),
    )
    rejected = [each for each in refused if each is not None]
    invariants = "\n".join(f"{number}. **{each.name}.** {each.text}" for number, each in enumerate(INVARIANTS, 1))
    return f"""# The life cycle of a pod

This page is generated from the transition table in `seatrial/control/lifecycle/transitions.py` and the invariants in
`seatrial/control/lifecycle/invariants.py`. Nodes, real and simulated, execute the table; the checker reasons about it.

## What is decided

`sync(pod, facts, now)` is a pure function. *Facts* are what the node knows: the sandbox, the latest two attempts of
each container, the probes' latest results, problems, stops under way. It answers with *actions* for the runtime, the
*status* to report, *events* for people, and the time at which to look again. Nothing else is remembered: calling it
twice with the same arguments gives the same answer, and a node that was restarted goes on where it was.

A container is one of: {roles}. Its state is read off the facts. In each state the first row whose guard holds is
taken; at most one action follows.

```mermaid
{mermaid()}
```

{tables}

A container is stopped for one of these reasons:

{stops}

A resize is applied {resizes}, as the container's `resizePolicy` says.

## When it is a container's turn

* An init container: the one before it has succeeded (if that is restartable: started), and no later one has begun.
* A restartable init container: the same; and always once anything after it has begun.
* An app container: the last init container is done as above, and no app container before it runs its postStart hook.
* An ephemeral container: once the sandbox is there. It is never restarted and counts for no phase and no condition.

To be stopped, a restartable init container waits for all app containers and all restartable init containers after it,
or for the end of the grace period; its preStop hook does not wait.

## Restarts

The wait before a restart is 0 s, then 10 s, doubling to 300 s; a run of more than ten minutes starts it anew. One
that the node stopped itself, for a probe or a resize, is started at once if its end before that one is far enough back.
The waits are upstream's from 1.25 to 1.37.

## Phase and conditions

| phase | when |
|---|---|
| Pending | an init container has not ended (or a restartable one not started), or an app container was never run |
| Running | every app container was run, and one runs or is to be restarted |
| Succeeded | no container runs or is to be restarted, and every app container ended with 0 |
| Failed | as before, but one ended otherwise; or an init container failed for good; or deadline, or eviction |

A pod that ends by its deadline, an eviction or a deletion shows its last phase until no container runs any more. A
container that was running and that the runtime knows no more has ended with 137; an ordinary init container that it
knows no more has succeeded if an app container was made. A static pod that ends takes no final phase: its node may
begin it again.

## What the node decides beside it

* *Rejection* (`rejection.py`): a pod that comes to a node which is short of something, or shuts down, fails at once:
  `{rejected[0].reason}` or `{rejected[1].reason}`. Critical pods are taken under pressure.
* *Admission* (`admission.py`): so does a pod that does not fit what the node has left: `OutOfcpu`, `OutOfpods`,
  `NodeAffinity`, `NodePorts`, `TaintToleration`, ... For a critical pod others go, reason
  `{admission.PREEMPTED}`. A node that begins admits again what it ran, the oldest first.
* *Pressure* (`pressure.py`, `eviction.py`): every {pressure.INTERVAL.seconds} s the node compares its signals with its
  thresholds; {conditions} show; one pod is ended, reason `Evicted`, and
  the node looks again when it has gone, or after {pressure.CLEANUP.seconds} s.
* *Shutdown* (`shutdown.py`): groups of pods by priority, the lowest first, end with the reason `{shutdown.REASON}`:
  "{shutdown.MESSAGE}"
* *Static pods* (`static.py`): begun and ended by their manifests; the API shows mirrors.

## Invariants

Checked by a state machine test over random sequences of events (`tests/control/lifecycle/test_invariants.py`):

{invariants}
"""


def _table(state: State) -> str:
    rows = "\n".join(
        f"| {row.event} | {row.guard_text} | {row.effect.value or '-'} | {row.target.value} | {row.reason or '-'} |"
        for row in TRANSITIONS
        if row.source is state
    )
    return f"""### {state.value}

| event | guard | asks the runtime | to | reason shown |
|---|---|---|---|---|
{rows}
"""
