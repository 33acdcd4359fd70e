"""Who may see the candidate: hashing as Unleash does it, exposure rules, decisions; pure but for sources/."""
