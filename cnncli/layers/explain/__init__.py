"""The arithmetic behind one element, spelled out: what it reads, the products, their sum."""
