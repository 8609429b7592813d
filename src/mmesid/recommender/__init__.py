"""The recommender: a Llama whose inputs are items and whose output is a score for every item.

backbone -> prompt -> item_input, fusion -> model -> windows, packing -> training, inference; loading puts it together.
"""
