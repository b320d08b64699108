"""Generic ephemeral volumes: a pod's volume that is a claim of its own, made with the pod and gone with it."""

from __future__ import annotations

from typing import Final

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import controller_reference
from seatrial.control.writes import Create, RecordEvent, Write
from seatrial.kube.objects import Object, ObjectMeta, PersistentVolumeClaim, Pod


def _reconcile(seen: Seen) -> Decision:
    pod = seen.subject
    assert isinstance(pod, Pod)
    claims = {claim.metadata.name: claim for claim in seen.all(PersistentVolumeClaim)}
    writes: list[Write] = []
    for volume in pod.spec.volumes:
        if volume.ephemeral is None or volume.ephemeral.volume_claim_template is None:
            continue
        template = volume.ephemeral.volume_claim_template
        namespace, name = pod.metadata.namespace, f"{pod.metadata.name}-{volume.name}"
        claim = claims.get(name)
        if claim is None:
            meta = ObjectMeta(
                namespace=namespace,
                name=name,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
                owner_references=(controller_reference(pod),),
            )
            writes.append(Create(PersistentVolumeClaim(metadata=meta, spec=template.spec)))
            continue
        owner = claim.metadata.controller
        if owner is None or owner.uid != pod.metadata.uid:
            message = (
                f"ephemeral volume {volume.name}: PVC {namespace}/{name} was not created for pod "
                f"{namespace}/{pod.metadata.name} (pod is not owner)"
            )
            if seen.memory != message:
                writes.append(RecordEvent(pod, "Warning", "FailedBinding", message))
            return Decision(tuple(writes), memory=message)
    return Decision(tuple(writes))


def _has_ephemeral(pod: Object) -> bool:
    assert isinstance(pod, Pod)
    return pod.metadata.deletion_timestamp is None and any(volume.ephemeral for volume in pod.spec.volumes)


def _view_of_claim(claim: Object) -> Object:
    meta = claim.metadata
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            namespace=meta.namespace, name=meta.name, uid=meta.uid, owner_references=meta.owner_references
        )
    )


CONTROLLER: Final = Controller(
    name="ephemeral_volume",
    actor="Ephemeral volume controller",
    subject=Pod,
    reads=(Read(PersistentVolumeClaim, Relation.STORAGE, view=_view_of_claim),),
    reconcile=_reconcile,
    concerned=_has_ephemeral,
)
