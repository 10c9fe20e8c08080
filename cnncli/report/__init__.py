"""A result as tables, and the words it ends with. The only room that imports rich."""
