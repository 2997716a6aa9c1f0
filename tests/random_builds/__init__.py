"""Random builds, and random changes of them: what tests/differential is fed with."""
