"""How a cluster behaves: pure decisions, executed by `cluster` and reasoned about by `check`."""
