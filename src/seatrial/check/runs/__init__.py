"""The models of particular runs: a rollout, a start, a Job, a pod in time, a system that is kept up."""
