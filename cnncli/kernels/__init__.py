"""Arithmetic of the layers: arrays in, arrays out, NumPy only; arguments are trusted."""
