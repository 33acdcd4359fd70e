"""Side-by-side benchmarks against the proxies a user would otherwise run."""
