"""One pod on one board: the nodes that can take it and how well they suit it, kept up to date for the next equal pod.

An evaluation is made once for each class of equal pods and then follows the board's journal: a pod that came to a node
or left it changes that node's numbers and the counts of its domains, not a thousand nodes'. It is a cache of the
observation and nothing else: made anew it would say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from seatrial.control.scheduler import preemption, volumes
from seatrial.control.scheduler.board import Board
from seatrial.control.scheduler.filters import Filters, message
from seatrial.control.scheduler.placement import Obstacle, Placement, Reason, SchedulingError
from seatrial.control.scheduler.profiles import DEFAULT, Profile
from seatrial.control.scheduler.scores import Scores
from seatrial.kube.objects import Container, Pod, PodSpec, canonical
from seatrial.kube.objects.pods import ResourceRequirements
from seatrial.kube.objects.volumes import Volume

NO_NODES: Final = "no nodes available to schedule pods"
FOUND_SAID_SINCE: Final = 37  # the minor version whose message says where preemption made room
LEFT_OUT_SAID_SINCE: Final = 32  # whose message counts the nodes that required affinity does not name
CLAIMS_SINCE: Final = 34  # resource claims are on by default
KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Choice:
    """The feasible nodes by index, and those with the highest score; `totals` only when there was a choice."""

    feasible: list[int]
    best: list[int]
    totals: list[int]


class Evaluation:
    def __init__(self, pod: Pod, board: Board, profile: Profile = DEFAULT) -> None:
        """Raises `volumes.UnplaceableError` if no node can take the pod, whichever it is."""
        self.pod = pod
        self.board = board
        self.profile = profile
        self.filters = Filters(pod, board, profile)
        self._epoch = board.epoch
        self._position = len(board.journal)
        self._alone = [self.filters.alone(site) for site in board.sites]
        self._passing: list[int] | None = None
        self._scores: Scores | None = None

    def is_current(self) -> bool:
        return self._epoch == self.board.epoch

    def follow(self) -> None:
        """Take in what happened on the board since."""
        journal = self.board.journal
        if self._position == len(journal):
            return
        for sign, pod, site in journal[self._position :]:
            self.filters.shift(sign, pod, site, supposed=False)
            if self._scores is not None:
                self._scores.shift(sign, pod, site)
            alone = self.filters.alone(site)
            if alone is not self._alone[site.index]:
                self._alone[site.index] = alone
                self._passing = None
        self._position = len(journal)

    def choose(self, pod: Pod) -> Choice:
        """For `pod`, which is this evaluation's or an equal one."""
        board = self.board
        nominated = board.site(pod.status.nominated_node_name) if pod.status.nominated_node_name else None
        if nominated is not None and not self.filters.with_nominated(nominated):
            return Choice([nominated.index], [nominated.index], [])
        if self._passing is None:
            self._passing = [index for index, alone in enumerate(self._alone) if alone]
        feasible = self.filters.among_others(board.sites, self._passing)
        if board.nominated:
            feasible = [
                index
                for index in feasible
                if board.sites[index].name not in board.nominated or not self.filters.with_nominated(board.sites[index])
            ]
        if len(feasible) < 2:
            return Choice(feasible, feasible, [])
        if self.profile.unprepared:
            name = self.profile.unprepared[0]
            missing = f'failed to read "PreScore{name}" from cycleState: not found'
            raise SchedulingError(f'running Score plugins: plugin "{name}" failed with: {missing}')
        if self._scores is None:
            self._scores = Scores(self.pod, board, self.profile, self.filters.volumes)
        totals = self._scores.totals(feasible)
        top = max(totals)
        return Choice(feasible, [index for index, total in zip(feasible, totals, strict=True) if total == top], totals)

    def placement(self, pod: Pod, *, brief: bool = False) -> Placement:
        """Where `pod` can go; `brief` leaves out all but the best nodes."""
        sites = self.board.sites
        choice = self.choose(pod)
        if not choice.feasible:
            return self.refusal(pod)
        if brief:
            return Placement(best=tuple(sites[index].name for index in choice.best))
        names = tuple(sites[index].name for index in choice.feasible)
        return Placement(
            feasible=names,
            best=tuple(sites[index].name for index in choice.best),
            scores=dict(zip(names, choice.totals, strict=True)) if choice.totals else {},
        )

    def refusal(self, pod: Pod) -> Placement:
        """Why no node takes the pod, and whether preemption would help."""
        board = self.board
        found = {site.name: self.filters.with_nominated(site) for site in board.sites}
        refused = tuple(obstacle for obstacles in found.values() for obstacle in obstacles)
        said = (each for each in refused if board.minor >= LEFT_OUT_SAID_SINCE or each.reason is not Reason.NODE_NAMES)
        text = message(len(board.sites), (obstacle.text for obstacle in said))
        if not self.profile.preempts:
            return Placement(message=text, obstacles=refused)
        reason = preemption.ineligible(pod, board, found)
        if reason:
            return Placement(message=f"{text} preemption: {reason}", obstacles=refused)
        candidates, failed = preemption.candidates(pod, board, self.filters, self.profile, found)
        if candidates:
            return Placement(
                message=text, obstacles=refused, candidates=candidates, nominated=preemption.best(candidates)
            )
        return Placement(message=text + not_preempted(len(board.sites), failed.values()), obstacles=refused)


def not_preempted(nodes: int, failed: Iterable[tuple[str, ...]]) -> str:
    """What the message says when preemption was tried and found no node."""
    tried = list(failed)
    texts = [text for texts in tried for text in texts]
    return f" preemption: {message(nodes, texts + [preemption.NOT_HELPFUL] * (nodes - len(tried)))}"


def place(
    pod: Pod, board: Board, profile: Profile = DEFAULT, kept: Evaluations | None = None, *, brief: bool = False
) -> Placement:
    """The whole decision for one pod; with `kept` what was counted for equal pods before is used."""
    if not board.sites:
        return Placement(message=NO_NODES)
    try:
        evaluation = Evaluation(pod, board, profile) if kept is None else kept.of(pod, profile)
        return evaluation.placement(pod, brief=brief)
    except volumes.UnplaceableError as unplaceable:
        text = f"0/{len(board.sites)} nodes are available: {unplaceable}."
        if board.minor >= CLAIMS_SINCE:
            text += " not found"  # of what upstream's DynamicResources did not come to look at
        elif profile.preempts:
            never = pod.spec.preemption_policy == "Never"
            text += f" preemption: {preemption.NEVER_PREEMPTS}" if never else not_preempted(len(board.sites), ())
        return Placement(message=text, obstacles=(Obstacle("", Reason.POD, ("spec",), detail=str(unplaceable)),))
    except SchedulingError as error:
        return Placement(error=str(error))


class Evaluations:
    """The evaluations of one board, by class of equal pods; the least recently used goes first."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._kept: dict[tuple[object, ...], Evaluation] = {}

    def of(self, pod: Pod, profile: Profile) -> Evaluation:
        if volumes.needs(pod):  # what other pods' claims do meanwhile is not in the journal
            return Evaluation(pod, self._board, profile)
        key = (profile.name, *likeness(pod))
        found = self._kept.pop(key, None)
        if found is None or not found.is_current():
            found = Evaluation(pod, self._board, profile)
        else:
            found.follow()
        self._kept[key] = found
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return found


def likeness(pod: Pod) -> tuple[object, ...]:
    """Equal for two pods exactly if nothing that placing them depends on tells them apart."""
    spec, metadata = pod.spec, pod.metadata
    owner = metadata.controller
    return (
        metadata.namespace,
        tuple(sorted(metadata.labels.items())),
        None if owner is None else (owner.kind, owner.name, owner.uid),
        canonical(
            PodSpec(
                affinity=spec.affinity,
                containers=tuple(map(_asked, spec.containers)),
                init_containers=tuple(map(_asked, spec.init_containers)),
                host_network=spec.host_network,
                host_users=spec.host_users,
                node_name=spec.node_name,
                node_selector=spec.node_selector,
                overhead=spec.overhead,
                preemption_policy=spec.preemption_policy,
                priority=spec.priority,
                resources=spec.resources,
                tolerations=spec.tolerations,
                topology_spread_constraints=spec.topology_spread_constraints,
                volumes=tuple(Volume(image=volume.image) for volume in spec.volumes if volume.image is not None),
            )
        ),
    )


def _asked(container: Container) -> Container:
    return Container(
        image=container.image,
        ports=tuple(port for port in container.ports if port.host_port),
        resources=ResourceRequirements(requests=container.resources.requests),
        restart_policy=container.restart_policy,
        restart_policy_rules=container.restart_policy_rules,
    )
