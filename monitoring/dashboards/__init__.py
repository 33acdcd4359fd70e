"""Grafana dashboards as code: what stands on each (`boards`), and how Grafana is told (`rendering`)."""
