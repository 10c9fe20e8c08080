"""From files and flags to a runnable case: tensor sources, YAML, assertions."""
