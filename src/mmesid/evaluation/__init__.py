"""Evaluation: metrics, ranking, statistics, embedding collapse and forgetting."""
