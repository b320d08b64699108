"""Kinds that nothing here decides about: of these only the metadata is typed, for owners, finalizers and namespaces."""

from __future__ import annotations

from typing import Final

import msgspec

from seatrial.kube.objects.base import Object

_NAMES: Final = {
    "admissionregistration.k8s.io/v1": "MutatingWebhookConfiguration ValidatingAdmissionPolicy "
    "ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
    "apiregistration.k8s.io/v1": "APIService",
    "monitoring.coreos.com/v1": "PodMonitor PrometheusRule ServiceMonitor",
    "networking.k8s.io/v1": "Ingress IngressClass",
    "node.k8s.io/v1": "RuntimeClass",
    "v1": "PodTemplate",
}


def _kind(api_version: str, kind: str) -> type[Object]:
    return msgspec.defstruct(  # type: ignore[return-value]  # a Struct made of `bases` is one of them
        kind,
        (),
        bases=(Object,),
        module=__name__,
        namespace={"api_version": api_version, "kind": kind},
        frozen=True,
        kw_only=True,
        omit_defaults=True,
        rename="camel",
    )


OTHERS: Final = tuple(_kind(api_version, kind) for api_version, kinds in _NAMES.items() for kind in kinds.split())
