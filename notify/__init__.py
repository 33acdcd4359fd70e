"""Telling people and machines what happened: what is said, how each receiver wants it, and its delivery."""
