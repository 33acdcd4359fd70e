"""Durable state: one database, SQLite or PostgreSQL; its tables, and how they change between releases."""
