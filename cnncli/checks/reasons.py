"""Why an `against` failed, in the words that results have for it."""

VALUES = "wrong values"
SHAPE = "wrong shape"
TIES = "wrong at ties only"
MISSING = "missing"
EXCEPTION = "exception"
CHANGED = "changed its input"
"""Of a function that is right but for writing into its arguments."""

TOLD = (EXCEPTION, SHAPE, MISSING, CHANGED, VALUES)
"""Reasons that a check's note says more of."""
JUDGED_AS = "judged as "
"""How a note begins that says in which precision a tensor is judged."""
