"""From an answer's bytes to a Prediction, one module a payload protocol."""
