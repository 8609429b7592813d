"""DVC's pipeline: its graph, one stage in a child process, dvc.lock mended, parameters overridden."""
