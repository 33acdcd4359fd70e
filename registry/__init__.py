"""Lineage: what a version was made of (local YAML, MLflow over REST)."""
