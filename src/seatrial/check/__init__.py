"""The proofs: explore, solve, judge. `judge.judge(system)` gives the report on a `System`."""
