"""Looks for what may go wrong with torcd here: `gather` finds out, `checks` judges, and never the other way round."""
