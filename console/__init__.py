"""Human faces: the pointsman command line (and, later, the web console)."""
