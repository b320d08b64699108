"""What refers to what: the table of edges, what there is, and where a reference leads."""
