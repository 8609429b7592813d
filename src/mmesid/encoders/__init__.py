"""Encoders: a collaborative, a text and an image embedding of every item, with masks where a modality is absent."""
