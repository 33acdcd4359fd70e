"""Prediction log, labels and accuracy by cohort, drift profiles, diagnosis, metrics."""
