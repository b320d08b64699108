"""Random histories: scripts of commands, played against Kubernetes and against seatrial, compared when all is quiet."""
