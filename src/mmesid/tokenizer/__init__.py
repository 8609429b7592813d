"""MM-RQ-VAE: one residual-quantised autoencoder per modality turns each item embedding into a semantic ID."""
