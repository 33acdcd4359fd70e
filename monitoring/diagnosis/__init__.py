"""What changed: of a signal that has moved, the changes that explain it, best first."""
