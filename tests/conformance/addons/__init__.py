"""Add-ons beside the programs that they stand in for: the same random cases, upstream's answers recorded.

    python -m tests.conformance.addons vertical record 600      # ask upstream's own packages anew; needs Go
    python -m tests.conformance.addons descheduler compare 5000 7
    python -m tests.conformance.addons vertical replay

A case of the VerticalPodAutoscaler (`vertical.py`) has what containers used, second by second, some ends for want of
memory, policies, and pods: the answer is the recommendation, what the admission gives each pod, and which pods the
updater would update, in which order. A case of the descheduler (`descheduling.py`) has a policy, nodes, pods and
budgets: the answer is which pods are evicted, by which plugin.
"""
