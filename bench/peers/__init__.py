"""The peers: each module writes one proxy's configuration and starts it."""

from __future__ import annotations

from collections.abc import Mapping

from bench.peers.envoy import ENVOY
from bench.peers.haproxy import HAPROXY
from bench.peers.naive import NAIVE
from bench.peers.nginx import NGINX
from bench.peers.peer import Peer
from bench.peers.traefik import TRAEFIK

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in (NGINX, HAPROXY, ENVOY, TRAEFIK, NAIVE)}
