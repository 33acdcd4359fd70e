"""Where lineage is read from, one registry a module; all of them are `domain.ports.LineageSource`."""
