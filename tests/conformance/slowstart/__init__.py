"""How many pods are made and refused in each sync of a workload's controller where a namespace takes only some.

    python -m tests.conformance.slowstart replay          all recorded cases
    python -m tests.conformance.slowstart compare 500 7   cases of seed 7, live; needs Go
    python -m tests.conformance.slowstart record 500 1    the same, and keeps what upstream did

A case is a workload's size and how many pods there is room for, at first and more from time to time. Upstream is the
whole controller in virtual time (`upstream/slowstart`), ours its decisions as `control.batches.execute` makes them.
"""
