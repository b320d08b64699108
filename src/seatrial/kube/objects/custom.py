"""CustomResourceDefinition, and the typed view of objects whose kinds were made by one.

All of those share one type, since their kinds come and go while a cluster runs: `CustomResource` holds what garbage
collection, namespaces, quotas and autoscalers look at, and says which kind it is of.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from seatrial.kube.objects.base import JsonObject, Key, Object, Value


class CustomResourceDefinitionNames(Value, frozen=True):
    categories: tuple[str, ...] = ()
    kind: str = ""
    list_kind: str = ""
    plural: str = ""
    short_names: tuple[str, ...] = ()
    singular: str = ""


class CustomResourceDefinitionVersion(Value, frozen=True):
    name: str = ""
    served: bool = False
    storage: bool = False


class CustomResourceDefinitionSpec(Value, frozen=True):
    group: str = ""
    names: CustomResourceDefinitionNames = CustomResourceDefinitionNames()
    scope: str = ""
    versions: tuple[CustomResourceDefinitionVersion, ...] = ()


class CustomResourceDefinitionCondition(Value, frozen=True):
    last_transition_time: datetime | None = None
    message: str = ""
    observed_generation: int = 0
    reason: str = ""
    status: str = ""
    type: str = ""


class CustomResourceDefinitionStatus(Value, frozen=True):
    accepted_names: CustomResourceDefinitionNames = CustomResourceDefinitionNames()
    conditions: tuple[CustomResourceDefinitionCondition, ...] = ()
    observed_generation: int = 0
    stored_versions: tuple[str, ...] = ()

    def condition(self, kind: str) -> CustomResourceDefinitionCondition | None:
        return next((each for each in self.conditions if each.type == kind), None)

    def holds(self, kind: str) -> bool:
        found = self.condition(kind)
        return found is not None and found.status == "True"


class CustomResourceDefinition(Object, frozen=True):
    api_version: ClassVar[str] = "apiextensions.k8s.io/v1"
    kind: ClassVar[str] = "CustomResourceDefinition"

    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()

    @property
    def serves(self) -> bool:
        """Whether objects of the kind can be there."""
        return self.status.holds("Established")


class CustomScale(Value, frozen=True):
    """The scale subresource of one object: where its size is asked for, and what is there."""

    path: tuple[str, ...] = ()
    replicas: int | None = None
    status_replicas: int = 0
    selector: str = ""


class CustomResource(Object, frozen=True):
    """One object of a custom kind: `group_version` and `named` are its `apiVersion` and `kind`.

    `resource` is the name of its definition: `widgets.example.com`. Of its content only the scale is known here.
    """

    api_version: ClassVar[str] = ""
    kind: ClassVar[str] = "CustomResource"

    group_version: str = ""
    named: str = ""
    resource: str = ""
    scale: CustomScale | None = None

    @property
    def key(self) -> Key:
        """Objects of different kinds may have the same name."""
        return Key(self.kind, self.metadata.namespace, f"{self.resource}/{self.metadata.name}")

    @property
    def identity(self) -> tuple[str, str]:
        return self.group_version, self.named

    def wire(self, metadata: JsonObject) -> JsonObject:
        """What of the object is known, as its JSON."""
        raw: JsonObject = {"apiVersion": self.group_version, "kind": self.named, "metadata": metadata}
        if self.scale is not None and self.scale.replicas is not None:
            inner = raw
            for name in self.scale.path[:-1]:
                inner = inner.setdefault(name, {})
            inner[self.scale.path[-1]] = self.scale.replicas
        return raw
