"""MLflow's scoring server for one model, with a sentence where it would answer by a traceback or guess."""
