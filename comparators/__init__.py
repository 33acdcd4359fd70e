"""Payload readers and comparators: how far apart are two predictions? Pure."""
