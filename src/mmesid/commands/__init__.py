"""The `mmesid` command: `cli` names the commands, and each has a module for what it alone uses."""
