"""People's own functions: read from .py and .ipynb, called in a process of their own."""
