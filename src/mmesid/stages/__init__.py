"""One thin entry per DVC stage: read parameters, load, call one room, save, log."""
