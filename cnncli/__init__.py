"""cnncli: run CNN layers from the shell, and prove their gradients right."""

__version__ = "0.1.0"
