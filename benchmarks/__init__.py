"""Measurements that are too long for tests; each prints its result and writes benchmarks/results/<name>.json."""
