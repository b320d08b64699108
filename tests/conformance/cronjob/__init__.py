"""Random histories of CronJobs: what upstream's controller did in them, and what ours does.

    python -m tests.conformance.cronjob replay          all recorded histories (the ordinary tests replay a part)
    python -m tests.conformance.cronjob compare 500 7   histories of seed 7, live; needs Go
    python -m tests.conformance.cronjob record 500 1    the same, and keeps what upstream did

A history is commands with the seconds at which they are given: CronJobs made, edited and deleted, Jobs that begin, end
or go, Jobs made by hand, a quota, the controller stopped and started again. Upstream is the whole controller in virtual
time (`upstream/cronjob`), ours the API and the control loop. Compared is what was asked of the API, and when.
"""
