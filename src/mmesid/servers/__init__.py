"""Servers of this machine: those of `mmesid up`, the champion's endpoint, and the end of what a kill left behind."""
