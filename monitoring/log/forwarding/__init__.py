"""Sending the prediction log's records on: from this folder to a stream, a topic, an archive."""
