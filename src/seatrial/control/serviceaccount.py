"""What every active namespace is given: the ServiceAccount `default`, and the ConfigMap with the cluster's root CA."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Create, Update
from seatrial.kube.objects import ConfigMap, Namespace, ObjectMeta, ServiceAccount

DEFAULT: Final = "default"
ROOT_CA: Final = "kube-root-ca.crt"
_DESCRIPTION: Final = "kubernetes.io/description"
_WHAT_IT_IS: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)
"""Upstream's text, which users see on the object."""


def _accounts(seen: Seen) -> Decision:
    namespace = seen.subject
    assert isinstance(namespace, Namespace)
    if namespace.status.phase != "Active" or any(a.metadata.name == DEFAULT for a in seen.all(ServiceAccount)):
        return Decision()
    meta = ObjectMeta(name=DEFAULT, namespace=namespace.metadata.name)
    return Decision((Create(ServiceAccount(metadata=meta)),))


CONTROLLER: Final = Controller(
    name="service-account-controller",
    actor="ServiceAccount controller",
    subject=Namespace,
    reads=(Read(ServiceAccount, Relation.WITHIN, view=lambda obj: ServiceAccount(metadata=_named(obj.metadata))),),
    reconcile=_accounts,
)


def root_ca_publisher(certificate: str) -> Controller:
    """The controller that publishes `certificate` (PEM), the authority behind the API server's own."""

    def publish(seen: Seen) -> Decision:
        namespace = seen.subject
        assert isinstance(namespace, Namespace)
        if namespace.status.phase != "Active":
            return Decision()
        data = {"ca.crt": certificate}
        found = next((each for each in seen.all(ConfigMap) if each.metadata.name == ROOT_CA), None)
        if found is None:
            annotations = {_DESCRIPTION: _WHAT_IT_IS}
            meta = ObjectMeta(name=ROOT_CA, namespace=namespace.metadata.name, annotations=annotations)
            return Decision((Create(ConfigMap(metadata=meta, data=data)),))
        if found.data == data and found.metadata.annotations.get(_DESCRIPTION):
            return Decision()
        meta = replace(found.metadata, annotations={**found.metadata.annotations, _DESCRIPTION: _WHAT_IT_IS})
        return Decision((Update(found, replace(found, metadata=meta, data=data)),))

    return Controller(
        name="root-ca-certificate-publisher-controller",
        actor="Root CA publisher",
        subject=Namespace,
        reads=(Read(ConfigMap, Relation.WITHIN, view=_root_ca_only),),
        reconcile=publish,
    )


def _root_ca_only(obj: object) -> ConfigMap:
    """Other ConfigMaps wake nobody by what they hold."""
    assert isinstance(obj, ConfigMap)
    return obj if obj.metadata.name == ROOT_CA else ConfigMap(metadata=_named(obj.metadata))


def _named(meta: ObjectMeta) -> ObjectMeta:
    return ObjectMeta(name=meta.name, namespace=meta.namespace)
