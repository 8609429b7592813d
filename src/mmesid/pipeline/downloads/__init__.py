"""Fetching what a catalogue's address holds: review files and pictures, into a cache outside of the stages' outputs.

No room does this, and no stage depends on this code: what is fetched counts, not the way.
"""
