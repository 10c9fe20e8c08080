"""Who can compute a case: others, to judge ours against, and people's own code to be judged."""
