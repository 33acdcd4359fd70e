"""The demo: rain from a day's weather readings, real data, a candidate whose pipeline changes silently."""
