"""Putting a system onto a cluster: plan, apply, wait. Speaks the Kubernetes API and nothing else."""
