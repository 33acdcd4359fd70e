"""Which requests to mirror, joining pairs, bounds, and the link from worker to control process."""
