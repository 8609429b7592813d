"""What passes between stages: typed values, whole files, and a save/load pair for each stage's output."""
