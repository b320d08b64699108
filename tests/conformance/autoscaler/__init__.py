"""Random metric histories for an autoscaler, what upstream's controller decided on them, and what ours decides.

    python -m tests.conformance.autoscaler replay          all recorded histories (the ordinary tests replay a tenth)
    python -m tests.conformance.autoscaler compare 500 7   histories of seed 7, live; needs Go
    python -m tests.conformance.autoscaler record 2500 2   the same, and keeps what upstream decided

A history is a spec, a pod template and one world for each sync: what the pods and their metrics are like, how large the
target is said to be, what somebody changed. The loop is closed: as many of the world's pods are there as the autoscaler
asked for. Upstream is the whole HorizontalController in virtual time (`upstream/autoscaler`).
"""
