"""A small V2 (Open Inference Protocol) model server for scikit-learn models."""
