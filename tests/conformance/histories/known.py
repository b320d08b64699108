"""Recorded histories that come out differently, and why: a race or a draw upstream, or told in `docs/supported.md`."""

from __future__ import annotations

from typing import Final

_FOREGROUND = (
    "a set deleted in the foreground: StatefulSetController.sync makes its revision anew if the garbage collector's"
    " attemptToDeleteItem was faster: how often is chance, in 1.37 as in 1.30"
)
_TIE = "pods that tie for deletion: upstream decides by uid"
_RELIEVED = (
    "which node is relieved first (getPodsRankedByRelatedPodsOnSameNode) hangs on how many pods go in one sync, and"
    " that on how closely the Deployment follows its ReplicaSets"
)
_FREED = (
    "which of two claims looks first at a volume that somebody freed by hand: upstream looks in no particular order"
)
_GOING = "a volume that is to go: whether its reclaim fails before its protection ends is a race, and differs by run"
_LAST_POD = (
    "disruption.trySync, which tells of no pods, and the making of a set's next pod race for its only one: 1.30 says"
    " so in 4 of 4 runs, 1.37 in some, by the same code"
)
_BORDER = (
    "the ninth attempt to attach, two minutes after the first (exponentialbackoff), falls within 0.5 s of the look at"
    " it: upstream's reconciler loop adds its 100 ms periods, and is seen at the next step"
)
_WAITED = "an owner deleted in the foreground that its dependent looks up last: whether it is still there is a race"
_FIELDS = "a patch that changes nothing changes managedFields upstream, and with them wakes the set; we keep none"
_BATCHED = (
    "upstream lets changes of pods wait for a second (syncJobBatchPeriod), by which the end of a Job is later, and its"
    " time to live"
)
_STUCK = (
    "a DaemonSet that cannot surge: whether it deletes old revisions (cleanupHistory) hangs on whether its cache has"
    " seen the pods that the same sync made (SatisfiedExpectations)"
)

KNOWN: Final = {
    "garbage-200-43": _WAITED,
    **dict.fromkeys(
        (f"statefulset-100-{number}" for number in (38, 42, 43, 84, 215, 284, 307, 326, 366, 480)), _FOREGROUND
    ),
    **dict.fromkeys(("statefulset-30-2", "statefulset-32-20"), _FOREGROUND),
    **dict.fromkeys(("statefulset-501-135", "statefulset-501-140"), _FOREGROUND),
    **dict.fromkeys((f"statefulset-601-{number}" for number in (145, 202, 244, 297)), _FOREGROUND),
    "statefulset-501-29": _FIELDS,
    "daemonset-402-249": _STUCK,
    "deployment-601-151": _RELIEVED,
    "job-402-1": _BATCHED,
    "poddisruptionbudget-30-1": _LAST_POD,
    **dict.fromkeys((f"poddisruptionbudget-{number}" for number in ("501-225", "502-18", "502-100")), _LAST_POD),
    "attachment-2-29": _BORDER,
    "volume-4-4": _FREED,
    "volume-4-89": _GOING,
    **dict.fromkeys(
        (
            "poddisruptionbudget-502-39",
            "deployment-12-37",
            "replicaset-11-96",
            "replicaset-11-191",
            "replicationcontroller-100-350",
        ),
        _TIE,
    ),
}
