"""Controllers that act by the clock, beside upstream's in virtual time: pods' garbage, Jobs' time to live.

    python -m tests.conformance.clocked replay          all recorded histories (the ordinary tests replay a part)
    python -m tests.conformance.clocked compare 500 7   histories of seed 7, live; needs Go
    python -m tests.conformance.clocked record 500 1    the same, and keeps what upstream did

A history is commands with the seconds at which they are given: objects made, changed and deleted. Upstream are the
whole controllers (`upstream/clocked`), ours the API and the control loop. Compared is how objects look, and when, and
the events.
"""
