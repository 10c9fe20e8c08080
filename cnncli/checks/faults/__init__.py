"""Named faults: how each comes to be, and what to compute it on."""
