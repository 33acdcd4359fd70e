"""Where kill state and evidence are kept."""
