"""Human faces: the `pointsman` command line, and in `web` the pages of the console."""
