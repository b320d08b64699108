"""Random definitions of custom resources and objects of their kinds, what upstream's own packages say, and what we say.

    python -m tests.conformance.customresources replay          all recorded cases (the ordinary tests replay a part)
    python -m tests.conformance.customresources compare 500 7   cases of seed 7, live; needs Go
    python -m tests.conformance.customresources record 2000 2   the same, and keeps what upstream said

An answer holds the faults of the definition, and for each object the unknown fields, what is left after pruning and
defaulting, the faults as a new object and as an update of the one before, and the cells of its row in a table. A case
to which upstream does not give the same answer twice (it goes through maps) is left out.
"""
