"""The vocabulary as frozen types. Pure, standard library only."""
