"""Why a check failed, in the words that results have for it: an `against` first."""

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

DIFFER = "shapes differ"
"""The note of an array that is of another shape than what it is held against."""
UNKNOWN = "unknown"
"""The cause where no fault of the table explains what is wrong."""
