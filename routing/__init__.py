"""Who may see the candidate: Unleash-compatible hashing, exposure rules, the decision table. Pure but for sources/."""
