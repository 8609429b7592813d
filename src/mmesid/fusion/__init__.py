"""Late fusion: the network's score beside evidence that needs no training, weighed by how often an item was taken."""
