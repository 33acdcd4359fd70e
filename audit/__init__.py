"""Hash-chained events, live_at(T), verification."""
