"""The way from each schema to the next, one file a revision, in `versions/`."""
