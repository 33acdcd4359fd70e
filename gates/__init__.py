"""Releases: the plan whose stages move by evidence; promotion gates and drills will live here."""
