"""`python -m tests.soak --kills 50 --seed 0`: random SIGKILLs over a tiny catalogue's retrains, then one that is clean.

`draws` says whom to kill and when, `system` is `mmesid up` as its user knows it, `world` keeps something to do,
`laws` are what must hold at the end.
"""
