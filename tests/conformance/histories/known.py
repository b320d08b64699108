"""Recorded histories that come out differently, and why: each a race or a draw upstream, or a question still open."""

from __future__ import annotations

from typing import Final

_FOREGROUND = "a set deleted in the foreground makes its revision anew until its finalizer goes: how often is chance"
_BATCH = "upstream makes a Parallel set's pods in batches of 1, 2, 4: a refusal does not stop its batch"
_TIE = "pods that tie for deletion: upstream decides by uid"
_ANY_NODE = "upstream takes the nodes in no particular order"
_FREED = (
    "which of two claims looks first at a volume that somebody freed by hand: upstream looks in no particular order"
)
_GOING = "a volume that is to go: whether its reclaim fails before its protection ends is a race, and differs by run"
_EMPTY = "an empty list where there was none is no change of a node upstream, and one here"
_OPEN = "open: not understood"

KNOWN: Final = {
    "quota-100-276": _OPEN,
    **dict.fromkeys(
        (f"statefulset-100-{number}" for number in (38, 42, 43, 84, 215, 284, 307, 326, 366, 480)), _FOREGROUND
    ),
    **dict.fromkeys(("statefulset-30-2", "statefulset-32-20"), _FOREGROUND),
    # Recorded on a busy machine: pods not counted yet, a budget looked at between the end of its pods and the next.
    **dict.fromkeys(("job-32-6", "job-32-20", "job-32-22"), _OPEN),
    **dict.fromkeys(("poddisruptionbudget-30-1", "poddisruptionbudget-30-6"), _OPEN),
    **dict.fromkeys(("statefulset-100-362", "statefulset-100-446"), _BATCH),
    **dict.fromkeys(("statefulset-100-106", "statefulset-100-439"), _OPEN),
    **dict.fromkeys(("daemonset-100-259", "daemonset-100-459"), _ANY_NODE),
    "attachment-2-13": _EMPTY,
    "attachment-2-29": _OPEN,
    "volume-4-4": _FREED,
    "volume-4-89": _GOING,
    **dict.fromkeys(
        ("deployment-12-37", "replicaset-11-96", "replicaset-11-191", "replicationcontroller-100-350"), _TIE
    ),
}
