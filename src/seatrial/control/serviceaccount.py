"""What every active namespace is given: the ServiceAccount `default`, and the ConfigMap with the cluster's root CA.

And what Secrets of type kubernetes.io/service-account-token are given: a token of their account, for as long as both
are there.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from seatrial.control import tokens
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Create, Delete, IssueToken, Update
from seatrial.kube.objects import ConfigMap, Namespace, ObjectMeta, Secret, ServiceAccount

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


@lru_cache(maxsize=4)  # clusters of one authority have the same controllers
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


@lru_cache(maxsize=4)
def token_controller(certificate: str) -> Controller:
    """The controller that fills Secrets with tokens, and with `certificate` (PEM) if there is one; they go with their
    account.
    """

    def fill(seen: Seen) -> Decision:
        secret = seen.subject
        assert isinstance(secret, Secret)
        noted = secret.metadata.annotations
        name, uid = noted.get(tokens.ACCOUNT_NAME, ""), noted.get(tokens.ACCOUNT_UID, "")
        account = next((each for each in seen.all(ServiceAccount) if each.metadata.name == name), None)
        if not name:
            return Decision()
        if account is None or uid not in ("", account.metadata.uid):
            return Decision((Delete(secret),))
        data = {**secret.data, **({"ca.crt": _encoded(certificate)} if certificate else {})}
        data.setdefault("namespace", _encoded(secret.metadata.namespace))
        if data == secret.data and data.get("token"):
            return Decision()
        noted = {**noted, tokens.ACCOUNT_NAME: name, tokens.ACCOUNT_UID: account.metadata.uid}
        after = replace(secret, metadata=replace(secret.metadata, annotations=noted), data=data)
        if data.get("token"):
            return Decision((Update(secret, after),))
        return Decision((IssueToken(secret, after, tokens.legacy_claims(account.metadata, secret.metadata.name)),))

    return Controller(
        name="serviceaccount-token-controller",
        actor="Token controller",
        subject=Secret,
        concerned=lambda obj: isinstance(obj, Secret) and obj.type == tokens.SECRET_TYPE,
        reads=(Read(ServiceAccount, Relation.NEIGHBOUR, view=_account_only),),
        reconcile=fill,
    )


def _forget(seen: Seen) -> Decision:
    """An account forgets a Secret that held its token and is gone; what else it lists is its own business."""
    account = seen.subject
    assert isinstance(account, ServiceAccount)
    there = frozenset(
        each.metadata.name
        for each in seen.all(Secret)
        if each.type == tokens.SECRET_TYPE
        and each.metadata.annotations.get(tokens.ACCOUNT_NAME) == account.metadata.name
    )
    known = seen.memory if isinstance(seen.memory, frozenset) else frozenset()
    kept = tuple(each for each in account.secrets if each.name in there or each.name not in known)
    if kept == account.secrets:
        return Decision(memory=there or None)
    return Decision((Update(account, replace(account, secrets=kept)),), memory=there | known)


def _account_only(obj: object) -> ServiceAccount:
    assert isinstance(obj, ServiceAccount)
    return ServiceAccount(metadata=replace(_named(obj.metadata), uid=obj.metadata.uid))


def _secret_only(obj: object) -> Secret:
    assert isinstance(obj, Secret)
    account = obj.metadata.annotations.get(tokens.ACCOUNT_NAME, "")
    meta = replace(_named(obj.metadata), annotations={tokens.ACCOUNT_NAME: account} if account else {})
    return Secret(metadata=meta, type=obj.type)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _root_ca_only(obj: object) -> ConfigMap:
    """Other ConfigMaps wake nobody by what they hold."""
    assert isinstance(obj, ConfigMap)
    return obj if obj.metadata.name == ROOT_CA else ConfigMap(metadata=_named(obj.metadata))


def _named(meta: ObjectMeta) -> ObjectMeta:
    return ObjectMeta(name=meta.name, namespace=meta.namespace)


REFERENCES: Final = Controller(
    name="serviceaccount-token-controller",
    actor="Token controller",
    subject=ServiceAccount,
    concerned=lambda obj: isinstance(obj, ServiceAccount) and bool(obj.secrets),
    reads=(Read(Secret, Relation.NEIGHBOUR, view=_secret_only),),
    reconcile=_forget,
)
