"""ServiceAccount, roles and their bindings, and CertificateSigningRequest: who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from msgspec import field

from seatrial.kube.objects.base import Object, Value
from seatrial.kube.objects.meta import LabelSelector
from seatrial.kube.objects.services import ObjectReference
from seatrial.kube.objects.volumes import LocalObjectReference


class ServiceAccount(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ServiceAccount"

    automount_service_account_token: bool | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    secrets: tuple[ObjectReference, ...] = ()


class PolicyRule(Value, frozen=True):
    api_groups: tuple[str, ...] = ()
    non_resource_ur_ls: tuple[str, ...] = field(default=(), name="nonResourceURLs")
    resource_names: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


class AggregationRule(Value, frozen=True):
    cluster_role_selectors: tuple[LabelSelector, ...] = ()


class ClusterRole(Object, frozen=True):
    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "ClusterRole"

    aggregation_rule: AggregationRule | None = None
    rules: tuple[PolicyRule, ...] = ()


class Role(Object, frozen=True):
    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "Role"

    rules: tuple[PolicyRule, ...] = ()


class RoleRef(Value, frozen=True):
    api_group: str = ""
    kind: str = ""
    name: str = ""


class Subject(Value, frozen=True):
    api_group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class RoleBinding(Object, frozen=True):
    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "RoleBinding"

    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] = ()


class ClusterRoleBinding(Object, frozen=True):
    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "ClusterRoleBinding"

    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] = ()


class CertificateSigningRequestSpec(Value, frozen=True):
    expiration_seconds: int | None = None
    extra: Mapping[str, tuple[str, ...]] = {}
    groups: tuple[str, ...] = ()
    request: str = ""
    signer_name: str = ""
    uid: str = ""
    usages: tuple[str, ...] = ()
    username: str = ""


class CertificateSigningRequestCondition(Value, frozen=True):
    last_transition_time: datetime | None = None
    last_update_time: datetime | None = None
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""


class CertificateSigningRequestStatus(Value, frozen=True):
    certificate: str = ""
    conditions: tuple[CertificateSigningRequestCondition, ...] = ()


class CertificateSigningRequest(Object, frozen=True):
    api_version: ClassVar[str] = "certificates.k8s.io/v1"
    kind: ClassVar[str] = "CertificateSigningRequest"

    spec: CertificateSigningRequestSpec = CertificateSigningRequestSpec()
    status: CertificateSigningRequestStatus = CertificateSigningRequestStatus()
