"""Running: one case to a result, many cases one after another, and what is kept of them."""
