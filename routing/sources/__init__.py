"""Where flags come from."""
