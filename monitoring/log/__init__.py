"""The prediction log: one record per request answered, kept on disk, found by its id, read by its time."""
