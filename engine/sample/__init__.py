"""Sampling: the one denoising path, and its way into files."""
