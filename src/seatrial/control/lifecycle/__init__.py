"""The life cycle of a pod and its containers: `sync(pod, facts, now) -> PodDecision`."""

from seatrial.control.lifecycle.pods import all_containers, sync
from seatrial.control.lifecycle.transitions import TRANSITIONS, Role, State, Transition

__all__ = ["TRANSITIONS", "Role", "State", "Transition", "all_containers", "sync"]
