"""Sweeps: what runs (definition), as which jobs (jobs), here (runner) or through a launcher (launch), and for how long
(estimate)."""
