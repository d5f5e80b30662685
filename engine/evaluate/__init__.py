"""Judging a training while it runs: held-out loss, identity, memorisation, drift, motion, and the choice of a checkpoint."""
