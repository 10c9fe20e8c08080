"""Verdicts: comparison with what is expected, and numeric gradients."""
