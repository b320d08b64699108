"""A DeschedulerPolicy in its own words, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar

import msgspec
import yaml

from seatrial.kube import selectors
from seatrial.kube.objects import ConfigMap, Deployment, LabelSelector, Pod

NAME: Final = "descheduler"
INTERVAL: Final = timedelta(minutes=5)
INTERVAL_LEAST: Final = timedelta(seconds=1)
TEXT_MAX: Final = 100_000
KIND: Final = "DeschedulerPolicy"
_VERSION: Final = "descheduler/v1alpha2"
_UNIT_S: Final = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION_MAX_S: Final = 2**63 / 1e9

Count = Annotated[int, msgspec.Meta(ge=0)]
Percentage = Annotated[float, msgspec.Meta(ge=0, le=100)]
T = TypeVar("T")


class UnreadableError(Exception):
    """The policy cannot be followed."""


class Raw(msgspec.Struct, frozen=True, rename="camel"):
    """What a policy says, in its own words. What upstream's validation refuses cannot be made."""


class Namespaces(Raw, frozen=True):
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.include and self.exclude:
            raise ValueError("only one of include and exclude can be set")

    def allow(self, namespace: str) -> bool:
        return (not self.include or namespace in self.include) and namespace not in self.exclude


class Scope(Raw, frozen=True):
    """The pods that a plugin is for."""

    namespaces: Namespaces = Namespaces()
    label_selector: LabelSelector = LabelSelector()

    def covers(self, pod: Pod) -> bool:
        meta = pod.metadata
        return self.namespaces.allow(meta.namespace) and selectors.matches(self.label_selector, meta.labels)


class PluginConfig(Raw, frozen=True):
    name: str = ""
    args: Mapping[str, Any] = {}


class Enabled(Raw, frozen=True):
    enabled: tuple[str, ...] = ()


class Plugins(Raw, frozen=True):
    deschedule: Enabled = Enabled()
    balance: Enabled = Enabled()


class Profile(Raw, frozen=True):
    name: str = ""
    plugin_config: tuple[PluginConfig, ...] = ()
    plugins: Plugins = Plugins()

    def args(self, plugin: str, typed: type[T]) -> T:
        raw = next((each.args for each in self.plugin_config if each.name == plugin), {})
        return msgspec.convert(raw, typed)


class Policy(Raw, frozen=True):
    api_version: str = ""
    kind: str = ""
    profiles: tuple[Profile, ...] = ()
    node_selector: str = ""
    max_no_of_pods_to_evict_per_node: Count | None = None
    max_no_of_pods_to_evict_per_namespace: Count | None = None
    max_no_of_pods_to_evict_total: Count | None = None


class _Loader(yaml.SafeLoader):
    """Without aliases, by which a short text can stand for a huge one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def read(policies: ConfigMap) -> Policy:
    text = next(text for _, text in sorted(policies.data.items()) if KIND in text)
    if len(text) > TEXT_MAX:
        raise UnreadableError("too long")
    try:
        raw = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UnreadableError("no YAML") from error
    policy = msgspec.convert(_without_nulls(raw), Policy)
    if (policy.kind, policy.api_version) != (KIND, _VERSION):
        raise UnreadableError("no policy of this version")
    return policy


def _without_nulls(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _without_nulls(value) for key, value in raw.items() if value is not None}
    return [_without_nulls(each) for each in raw] if isinstance(raw, list) else raw


def interval(deployments: Iterable[Deployment]) -> timedelta:
    words = " ".join(
        word
        for deployment in deployments
        for container in deployment.spec.template.spec.containers
        if NAME in container.image
        for word in (*container.command, *container.args)
    )
    found = re.search(r"--descheduling-interval[= ](\S+)", words)
    wanted = duration(found[1]) if found else None
    return max(wanted, INTERVAL_LEAST) if wanted else INTERVAL


def duration(text: str) -> timedelta | None:
    """A Go duration; None for what is none."""
    if not re.fullmatch(r"(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+", text, re.ASCII) or len(text) > 30:
        return None
    parts = re.findall(r"([\d.]+)([a-zµ]+)", text)
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return timedelta(seconds=seconds) if seconds < _DURATION_MAX_S else None
