"""MM-RQ-VAE: one residual-quantized autoencoder per modality turns each item embedding into a semantic ID."""
