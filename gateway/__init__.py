"""The data plane: HTTP exchange, upstream pools, head parsing, worker, supervisor."""
