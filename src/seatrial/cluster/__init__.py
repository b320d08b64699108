"""A cluster in one process: `Cluster` puts the rooms together, `serve` is the control process's main."""
