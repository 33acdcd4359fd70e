"""The control plane: reads observations, compares, judges, trips, pushes snapshots; the admin API."""
