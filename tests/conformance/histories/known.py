"""Recorded histories that come out differently, and why: each a race or a draw upstream, or a question still open."""

from __future__ import annotations

from typing import Final

_FOREGROUND = (
    "a set deleted in the foreground: StatefulSetController.sync makes its revision anew if the garbage collector's"
    " attemptToDeleteItem was faster: how often is chance, in 1.37 as in 1.30"
)
_BATCH = "upstream makes a Parallel set's pods in batches of 1, 2, 4: a refusal does not stop its batch"
_TIE = "pods that tie for deletion: upstream decides by uid"
_ANY_NODE = "upstream takes the nodes in no particular order"
_FREED = (
    "which of two claims looks first at a volume that somebody freed by hand: upstream looks in no particular order"
)
_GOING = "a volume that is to go: whether its reclaim fails before its protection ends is a race, and differs by run"
_LAST_POD = (
    "disruption.trySync, which tells of no pods, and ReplicaSets' manageReplicas race for a set's only pod: 1.30 says"
    " so in 4 of 4 runs, 1.37 in 0 of 2, by the same code"
)
_BORDER = (
    "the ninth attempt to attach, two minutes after the first (exponentialbackoff), falls within 0.5 s of the look at"
    " it: upstream's reconciler loop adds its 100 ms periods, and is seen at the next step"
)
_WAITED = "an owner deleted in the foreground that its dependent looks up last: whether it is still there is a race"
_OPEN = "open: not understood"

KNOWN: Final = {
    "garbage-200-43": _WAITED,
    "quota-100-276": _OPEN,
    **dict.fromkeys(
        (f"statefulset-100-{number}" for number in (38, 42, 43, 84, 215, 284, 307, 326, 366, 480)), _FOREGROUND
    ),
    **dict.fromkeys(("statefulset-30-2", "statefulset-32-20"), _FOREGROUND),
    "poddisruptionbudget-30-1": _LAST_POD,
    **dict.fromkeys(("statefulset-100-362", "statefulset-100-446"), _BATCH),
    **dict.fromkeys(("statefulset-100-106", "statefulset-100-439"), _OPEN),
    **dict.fromkeys(("daemonset-100-259", "daemonset-100-459"), _ANY_NODE),
    "attachment-2-29": _BORDER,
    "volume-4-4": _FREED,
    "volume-4-89": _GOING,
    **dict.fromkeys(
        ("deployment-12-37", "replicaset-11-96", "replicaset-11-191", "replicationcontroller-100-350"), _TIE
    ),
}
