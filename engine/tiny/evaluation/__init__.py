"""Figures for a base and its LoRAs: an oracle that reads pixels, scores, and the report of `python -m engine evaluate`."""
