"""`python -m cnncli`, the same as `cnncli`."""

from cnncli.cli.app import process

if __name__ == "__main__":
    raise SystemExit(process())
