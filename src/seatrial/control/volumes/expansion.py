"""The expand controller: a bound claim that asks for more than it has waits for its driver's resizer.

No driver of the controller manager's own expands volumes any more, so all that is left is to say so. What the API lets
a claim ask for is decided in `server/storage.py`.
"""

from __future__ import annotations

from typing import Final

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import RecordEvent
from seatrial.kube.objects import Object, PersistentVolume, PersistentVolumeClaim
from seatrial.kube.quantities import Quantity

_NOTHING: Final = Quantity.parse("0")


def wants_more(claim: PersistentVolumeClaim) -> bool:
    wanted = claim.spec.resources.requests.get("storage", _NOTHING)
    return claim.status.phase == "Bound" and claim.status.capacity.get("storage", _NOTHING) < wanted


def _reconcile(seen: Seen) -> Decision:
    claim = seen.subject
    assert isinstance(claim, PersistentVolumeClaim)
    volume = next((each for each in seen.all(PersistentVolume) if each.metadata.name == claim.spec.volume_name), None)
    ref = volume.spec.claim_ref if volume is not None else None
    if ref is None or (ref.namespace, ref.uid) != (claim.metadata.namespace, claim.metadata.uid):
        return Decision()
    wanted = claim.spec.resources.requests["storage"]
    message = "waiting for an external controller to expand this PVC"
    event = RecordEvent(claim, "Normal", "ExternalExpanding", message)
    grown = not isinstance(seen.memory, Quantity) or seen.memory < wanted
    return Decision((event,) if grown else (), memory=wanted)


def _wants_more(claim: Object) -> bool:
    assert isinstance(claim, PersistentVolumeClaim)
    return wants_more(claim)


CONTROLLER: Final = Controller(
    name="volume_expand",
    actor="Expand controller",
    subject=PersistentVolumeClaim,
    reads=(Read(PersistentVolume, Relation.STORAGE),),
    reconcile=_reconcile,
    concerned=_wants_more,
)
