"""Requests as real clients send them: thirteen headers, most of which differ every time.

Fixed headers flatter every proxy that caches what it has seen, so no two of these requests are alike in user,
trace, cookie, credential, address or body.
"""

from __future__ import annotations

import random

import orjson

PATH = "/v2/models/bench/infer"
AGENTS = (
    "python-requests/2.32.3",
    "okhttp/4.12.0",
    "Go-http-client/1.1",
    "axios/1.7.9",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
)
LANGUAGES = ("en-GB,en;q=0.9", "de-CH,de;q=0.8,fr;q=0.5", "fr-FR", "ja")


def answer(model: str, probability: float, repeat: int = 1) -> bytes:
    """A V2 answer: `repeat` rows of two class probabilities."""
    data = [round(probability, 6), round(1 - probability, 6)] * repeat
    output = {"name": "predict_proba", "shape": [repeat, 2], "datatype": "FP64", "data": data}
    return orjson.dumps({"model_name": "bench", "model_version": model, "outputs": [output]})


def body(draw: random.Random, rows: int = 1) -> bytes:
    """A V2 request: rows of twelve features; one row makes about 300 bytes."""
    data = [round(draw.uniform(-100, 100), 6) for _ in range(12 * rows)]
    tensor = {"name": "features", "shape": [rows, 12], "datatype": "FP64", "data": data}
    wanted = [{"name": "predict_proba", "parameters": {"classification": 2}}]
    return orjson.dumps({"inputs": [tensor], "outputs": wanted, "parameters": {"content_type": "np"}})


def request(number: int, draw: random.Random, host: str, rows: int = 1) -> bytes:
    """One whole HTTP/1.1 request for PATH; `number` tells users apart."""
    payload = body(draw, rows)
    head = (
        f"POST {PATH} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {draw.choice(AGENTS)}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate, br",
        f"Accept-Language: {draw.choice(LANGUAGES)}",
        "Content-Type: application/json",
        f"Content-Length: {len(payload)}",
        f"X-User-Id: user-{number}-{draw.getrandbits(24):06x}",
        f"Authorization: Bearer {draw.getrandbits(256):064x}",
        f"Traceparent: 00-{draw.getrandbits(128):032x}-{draw.getrandbits(64):016x}-01",
        f"Cookie: session={draw.getrandbits(128):032x}; region=eu-{draw.randrange(9)}",
        f"X-Forwarded-For: 203.0.113.{draw.randrange(256)}",
        f"X-Client-Version: 4.{draw.randrange(40)}.{draw.randrange(10)}",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + payload


def requests(count: int, seed: int = 1, host: str = "bench.test", rows: int = 1) -> list[bytes]:
    """`count` different requests, the same ones for the same seed."""
    draw = random.Random(seed)
    return [request(number, draw, host, rows) for number in range(count)]
