"""The life cycle of a pod and its containers: `sync(pod, facts, now) -> PodDecision`."""
