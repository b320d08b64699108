"""The life cycle of a pod and its containers: `sync(pod, facts, now) -> PodDecision`."""

from seatrial.control.lifecycle.pods import sync
from seatrial.control.lifecycle.transitions import TRANSITIONS, State, Transition

__all__ = ["TRANSITIONS", "State", "Transition", "sync"]
