"""The demo: next-day rain, real data, a candidate whose feature pipeline changes silently."""
