"""Drift: how requests, predictions and latencies are distributed, against what they were once."""
