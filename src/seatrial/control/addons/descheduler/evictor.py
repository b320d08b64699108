"""DefaultEvictor: which pods may be evicted at all, and whether they would fit elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from seatrial.control.addons.descheduler.policy import Count, Raw, Scope, UnreadableError, duration
from seatrial.control.addons.descheduler.round import Outcome, Round
from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, Node, Pod

SYSTEM_CRITICAL_PRIORITY: Final = 2_000_000_000
EVICT: Final = "descheduler.alpha.kubernetes.io/evict"
NO_EVICTION: Final = "descheduler.alpha.kubernetes.io/prefer-no-eviction"
_MIRROR: Final = "kubernetes.io/config.mirror"
_SOURCE: Final = "kubernetes.io/config.source"
_PROTECTED_IF_ASKED: Final = ("PodsWithPVC", "PodsWithoutPDB", "PodsWithResourceClaims")
_PROTECTED: Final = ("PodsWithLocalStorage", "SystemCriticalPods", "FailedBarePods", "DaemonSetPods")


class Protections(Raw, frozen=True):
    default_disabled: tuple[str, ...] = ()
    extra_enabled: tuple[str, ...] = ()
    config: None = None

    def __post_init__(self) -> None:
        for given, known in ((self.default_disabled, _PROTECTED), (self.extra_enabled, _PROTECTED_IF_ASKED)):
            if len(set(given)) < len(given) or not set(given) <= set(known):
                raise ValueError("a protection that is not known here, or is named twice")


class Threshold(Raw, frozen=True):
    value: int | None = None
    name: None = None

    def __post_init__(self) -> None:
        if self.value is not None and self.value > SYSTEM_CRITICAL_PRIORITY:
            raise ValueError(f"a priority threshold cannot be greater than {SYSTEM_CRITICAL_PRIORITY}")


class EvictorArgs(Raw, frozen=True):
    node_selector: str = ""
    label_selector: LabelSelector = LabelSelector()
    namespace_label_selector: None = None
    priority_threshold: Threshold = Threshold()
    node_fit: bool = False
    min_replicas: Count = 0
    min_pod_age: str = ""
    no_eviction_policy: Literal["", "Preferred", "Mandatory"] = ""
    pod_protections: Protections = Protections()
    evict_local_storage_pods: bool = False
    evict_daemon_set_pods: bool = False
    evict_system_critical_pods: bool = False
    evict_failed_bare_pods: bool = False
    ignore_pvc_pods: bool = False
    ignore_pods_without_pdb: bool = msgspec.field(default=False, name="ignorePodsWithoutPDB")

    def __post_init__(self) -> None:
        flags = (
            self.evict_local_storage_pods,
            self.evict_daemon_set_pods,
            self.evict_system_critical_pods,
            self.evict_failed_bare_pods,
            self.ignore_pvc_pods,
            self.ignore_pods_without_pdb,
        )
        if any(flags) and (self.pod_protections.default_disabled or self.pod_protections.extra_enabled):
            raise ValueError("podProtections and the flags that it takes the place of")

    def protections(self) -> frozenset[str]:
        """The flags count only where `podProtections` says nothing."""
        disabled, extra = self.pod_protections.default_disabled, self.pod_protections.extra_enabled
        if disabled or extra:
            return frozenset(_PROTECTED) - frozenset(disabled) | frozenset(extra)
        flags = {
            "PodsWithLocalStorage": not self.evict_local_storage_pods,
            "DaemonSetPods": not self.evict_daemon_set_pods,
            "SystemCriticalPods": not self.evict_system_critical_pods,
            "FailedBarePods": not self.evict_failed_bare_pods,
            "PodsWithPVC": self.ignore_pvc_pods,
            "PodsWithoutPDB": self.ignore_pods_without_pdb,
        }
        return frozenset(name for name, on in flags.items() if on)


class Evictor:
    """DefaultEvictor: which pods may be evicted at all."""

    def __init__(self, args: EvictorArgs, round_: Round) -> None:
        self._args, self._round = args, round_
        self._protections = args.protections()
        wanted = selectors.parse(args.node_selector)
        self._nodes = [node for node in round_.ready if wanted.matches(node.metadata.labels)]
        self._age = duration(args.min_pod_age) if args.min_pod_age else None
        if args.min_pod_age and self._age is None:
            raise UnreadableError("no duration")

    def may(self, pod: Pod) -> bool:
        """Filter: the annotation that asks for it overrides every protection."""
        annotations = pod.metadata.annotations
        if EVICT in annotations:
            return True
        if self._args.no_eviction_policy == "Mandatory" and NO_EVICTION in annotations:
            return False
        if _MIRROR in annotations or annotations.get(_SOURCE, "api") != "api":
            return False
        return not self._round.is_going(pod) and not self._is_protected(pod) and self._is_ripe(pod)

    def fits(self, pod: Pod) -> bool:
        """PreEvictionFilter."""
        return not self._args.node_fit or self._round.fits_elsewhere(pod, self._nodes)

    def may_and_fits(self, pod: Pod) -> bool:
        return self.may(pod) and self.fits(pod)

    def _is_protected(self, pod: Pod) -> bool:
        spec, owners = pod.spec, pod.metadata.owner_references
        threshold = self._args.priority_threshold.value
        threshold = SYSTEM_CRITICAL_PRIORITY if threshold is None else threshold
        protected = {
            "PodsWithLocalStorage": any(
                each.host_path is not None or each.empty_dir is not None for each in spec.volumes
            ),
            "PodsWithPVC": any(each.persistent_volume_claim is not None for each in spec.volumes),
            "DaemonSetPods": any(owner.kind == "DaemonSet" for owner in owners),
            "SystemCriticalPods": spec.priority is not None and spec.priority >= threshold,
            "FailedBarePods": not owners,
            "PodsWithoutPDB": not any(
                selectors.matches(each.spec.selector, pod.metadata.labels) for each in self._round.budgets_of(pod)
            ),
            "PodsWithResourceClaims": bool(spec.resource_claims),
        }
        bare = not owners and pod.status.phase != "Failed"
        return bare or any(protected[name] for name in self._protections if name in protected)

    def _is_ripe(self, pod: Pod) -> bool:
        owners, start = pod.metadata.owner_references, pod.status.start_time
        if self._age is not None and (start is None or self._round.now - start < self._age):
            return False
        if len(owners) == 1 and self._round.replicas[owners[0].uid] < self._args.min_replicas > 1:
            return False
        return selectors.matches(self._args.label_selector, pod.metadata.labels)


def evict_wrong(
    plugin: str, scope: Scope, evictor: Evictor, round_: Round, is_wrong: Callable[[Pod, Node], bool]
) -> None:
    for node in round_.nodes:
        for pod in round_.on(node):
            if not (scope.covers(pod) and is_wrong(pod, node) and evictor.may_and_fits(pod)):
                continue
            match round_.evict(pod, plugin):
                case Outcome.TOTAL_LIMIT:
                    return
                case Outcome.NODE_LIMIT:
                    break
