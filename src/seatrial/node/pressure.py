"""A node's look at its own signals: what `control.lifecycle.pressure` decides, executed.

It looks every ten seconds where signals change by themselves (`polls`), and elsewhere at the next of these times after
it was told of a change and for as long as something is or was short. After an eviction it waits until the pods have
gone, half a minute at most, and then looks at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.lifecycle import pressure
from seatrial.control.lifecycle.configuration import KubeletConfiguration
from seatrial.control.lifecycle.facts import Eviction
from seatrial.control.lifecycle.pressure import CLEANUP, INTERVAL, Memory
from seatrial.kube.objects import Pod
from seatrial.node.runtime import Clock, PodRuntime, Timer

logger = logging.getLogger(__name__)

CLEANUP_LOOK: Final = timedelta(seconds=1)


class PressureWatch:
    """`pods` are those that may still run; `is_gone` says that nothing of one is left; `tell` records an event (type,
    reason, message) of the node; `show` shows conditions of the node.
    """

    def __init__(
        self,
        runtime: PodRuntime,
        clock: Clock,
        configuration: KubeletConfiguration,
        *,
        pods: Callable[[], Sequence[Pod]],
        is_gone: Callable[[Pod], bool],
        evict: Callable[[Pod, Eviction], None],
        tell: Callable[[str, str, str], None],
        show: Callable[[tuple[str, ...]], None],
        polls: bool,
    ) -> None:
        self.conditions: tuple[str, ...] = ()
        self._runtime = runtime
        self._clock = clock
        self._configuration = configuration
        self._pods = pods
        self._is_gone = is_gone
        self._evict = evict
        self._tell = tell
        self._show = show
        self._polls = polls
        self._memory = Memory()
        self._began = clock.now()
        self._waiting: tuple[tuple[Pod, ...], datetime] | None = None
        self._timer: Timer | None = None
        self._running = False

    def start(self) -> None:
        self._runtime.on_signals = self.look_soon
        self._running = True
        self._began = self._clock.now()
        if self._polls:
            self._look()

    def stop(self) -> None:
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self) -> None:
        """The machine went off: nothing is known of it until the next look."""
        self._memory, self.conditions, self._waiting = Memory(), (), None
        self._show(())

    def look_soon(self) -> None:
        """A signal may have changed."""
        if self._running and self._timer is None:
            passed = self._clock.now() - self._began
            self._at(self._began + -(-passed // INTERVAL) * INTERVAL)

    def _at(self, when: datetime) -> None:
        self._timer = self._clock.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._running:
            return
        now = self._clock.now()
        if self._waiting is not None:
            evicted, until = self._waiting
            if now < until and not all(self._is_gone(pod) for pod in evicted):
                self._at(now + CLEANUP_LOOK)
                return
            self._waiting = None
        result = pressure.look(
            self._memory,
            self._configuration,
            self._runtime.signals(),
            self._pods(),
            self._runtime.usage,
            now,
            image_disk=self._runtime.image_disk,
            shared_machine=self._polls,
        )
        self._memory = result.memory
        for threshold, observed in result.newly_set_aside:
            text = pressure.set_aside_message(threshold, observed)
            logger.warning("%s", text)
            self._tell("Warning", "EvictionThresholdSetAside", text)
        if result.conditions != self.conditions:
            self.conditions = result.conditions
            self._show(result.conditions)
        if result.reclaiming:
            self._tell("Warning", "EvictionThresholdMet", f"Attempting to reclaim {result.reclaiming}")
        for pod, eviction in result.evict:
            logger.warning("pod %s/%s: %s", pod.metadata.namespace, pod.metadata.name, eviction.message)
            self._evict(pod, eviction)
        if result.evict:
            self._waiting = (tuple(pod for pod, _ in result.evict), now + CLEANUP)
            self._at(now + CLEANUP_LOOK)
        elif self._polls or not result.memory.is_quiet:
            self._at(now + INTERVAL)
