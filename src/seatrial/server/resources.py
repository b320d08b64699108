"""What the server serves: the resources of one Kubernetes version, found by path or by kind.

The facts (names, scope, verbs, subresources) come from `kube.schemas`. One stored object may be served in several
versions of its group (HorizontalPodAutoscaler v1 and v2); it is stored under `group/plural` and answered in the
version asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from seatrial.kube import schemas
from seatrial.kube.customresources.definitions import priority
from seatrial.kube.schemas import Resource


def group_version(resource: Resource) -> str:
    """`v1` or `apps/v1`, as in `apiVersion`."""
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def storage_key(resource: Resource) -> str:
    return f"{resource.group}/{resource.plural}"


class Resources:
    """All resources of a Kubernetes version."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_path = {(item.group, item.version, item.plural): item for item in resources}
        self._by_kind = {(group_version(item), item.kind): item for item in self._by_path.values()}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_path.values())

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def kind(self, api_version: str, kind: str) -> Resource | None:
        return self._by_kind.get((api_version, kind))

    def stored(self, key: str) -> Resource | None:
        """The preferred version of what is stored under `key`."""
        group, plural = key.split("/", 1)
        for version in self.versions(group):
            found = self.at(group, version, plural)
            if found:
                return found
        return None

    def groups(self) -> tuple[str, ...]:
        """The core group (empty) first, then by name."""
        return tuple(sorted({group for group, _, _ in self._by_path}))

    def versions(self, group: str) -> tuple[str, ...]:
        """The versions of a group, preferred first."""
        return tuple(sorted({version for at, version, _ in self._by_path if at == group}, key=priority))

    def of(self, group: str, version: str) -> tuple[Resource, ...]:
        found = (item for item in self._by_path.values() if (item.group, item.version) == (group, version))
        return tuple(sorted(found, key=lambda item: item.plural))


@lru_cache
def load(version: str) -> Resources:
    return Resources(schemas.resources(version))
