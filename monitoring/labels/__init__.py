"""Labels: what was really true of a request, kept, joined with what was predicted, and counted."""
