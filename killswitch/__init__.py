"""Evidence, guards, the kill state and its stores."""
