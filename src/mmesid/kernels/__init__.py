"""What networks of several rooms compute in a way of its own, because the usual one costs too much on a processor."""
