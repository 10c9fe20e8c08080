"""Typer commands of a few lines each: parse, call, report, exit status."""
