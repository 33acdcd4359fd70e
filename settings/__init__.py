"""The configuration file: its schema, its parsing, its digest."""
