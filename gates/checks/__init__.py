"""The promotion gates, one a file: each measures the candidate's real servers and answers with a verdict."""
