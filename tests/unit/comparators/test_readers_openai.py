"""OpenAI's interface: whole answers, streams joined again, calls of tools, confidence, embeddings."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.prediction import Unreadable
from comparators.readers.events import MAX_EVENTS, event_data
from comparators.readers.openai import OpenAiReader
from domain.media import JSON, Media

STREAM = Media("text/event-stream; charset=utf-8")

CHAT = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello! How can I assist you today?",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
    "service_tier": "default",
}
TOOL_CALL = {
    "index": 0,
    "message": {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_abc123",
                "type": "function",
                "function": {"name": "get_current_weather", "arguments": '{\n"location": "Boston, MA"\n}'},
            }
        ],
    },
    "logprobs": None,
    "finish_reason": "tool_calls",
}
CALLED = {"name": "get_current_weather", "arguments": {"location": "Boston, MA"}}


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def stream(*chunks: object, done: bool = True, end: bytes = b"\n\n") -> bytes:
    events = [b"data: " + body(chunk) for chunk in chunks] + ([b"data: [DONE]"] if done else [])
    return b"".join(event + end for event in events)


def delta(finish_reason: str | None = None, index: int = 0, **fields: object) -> dict[str, object]:
    choice = {"index": index, "delta": fields, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "choices": [choice],
    }


def refusal(answer: bytes, media: Media = JSON, output: str | None = None) -> str:
    with pytest.raises(Unreadable) as caught:
        OpenAiReader(output).read(answer, media)
    assert caught.value.reason.isprintable()
    return caught.value.reason


def test_a_chat_answer_is_its_text() -> None:
    read = OpenAiReader().read(body(CHAT))
    assert (read.rows, read.width) == (1, 1)
    assert read.labels == ("Hello! How can I assist you today?",)
    assert (read.structure, read.confidences, read.has_numbers) == (None, None, False)


def test_choices_are_rows_in_the_order_of_their_index() -> None:
    choices = [{"index": at, "message": {"content": text}} for at, text in ((1, "b"), (0, "a"))]
    assert OpenAiReader().read(body({"choices": choices})).labels == ("a", "b")


def test_a_completion_is_its_text_with_its_confidence() -> None:
    logprobs = {
        "tokens": ["\n", "Yes"],
        "token_logprobs": [None, math.log(0.25)],
        "top_logprobs": [None, {"Yes": -1.4}],
        "text_offset": [0, 1],
    }
    answer = {
        "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
        "object": "text_completion",
        "choices": [{"text": "\nYes", "index": 0, "logprobs": logprobs, "finish_reason": "length"}],
    }
    read = OpenAiReader().read(body(answer))
    assert read.labels == ("\nYes",)
    assert read.confidences == (pytest.approx(0.25),)


def test_confidence_is_the_geometric_mean_of_the_tokens_probabilities() -> None:
    tokens = [{"token": "a", "logprob": math.log(p), "bytes": [97], "top_logprobs": []} for p in (0.9, 0.4)]
    choice = {"index": 0, "message": {"content": "aa"}, "logprobs": {"content": tokens}}
    read = OpenAiReader().read(body({"choices": [choice]}))
    assert read.confidences == (pytest.approx(0.6),)
    silent = {"index": 1, "message": {"content": "b"}, "logprobs": None}
    assert OpenAiReader().read(body({"choices": [choice, silent]})).confidences is None


@pytest.mark.parametrize("wild", ["NaN", "1e9", "-1e300", "null", "true", '"x"'])
def test_confidence_stays_a_probability(wild: str) -> None:
    answer = '{"choices": [{"text": "a", "logprobs": {"token_logprobs": [-0.5, %s]}}]}' % wild  # noqa: UP031
    (confidence,) = OpenAiReader().read(answer.encode()).confidences or ()
    assert 0.0 <= confidence <= 1.0


def test_calls_of_tools_are_structure() -> None:
    read = OpenAiReader().read(body({"choices": [TOOL_CALL]}))
    assert read.labels == ("",)
    assert read.structure == {"content": None, "tool_calls": [CALLED], "finish_reason": "tool_calls"}
    only = OpenAiReader("tool_calls").read(body({"choices": [TOOL_CALL]}))
    assert only.structure == [CALLED]
    assert only.labels == ('[{"arguments":{"location":"Boston, MA"},"name":"get_current_weather"}]',)


def test_arguments_that_are_no_json_stay_text() -> None:
    call = {"function": {"name": "f", "arguments": '{"location": "Bos'}}
    read = OpenAiReader("tool_calls").read(body({"choices": [{"message": {"tool_calls": [call]}}]}))
    assert read.structure == [{"name": "f", "arguments": '{"location": "Bos'}]
    older = {"message": {"content": None, "function_call": {"name": "f", "arguments": "{}"}}}
    assert OpenAiReader("tool_calls").read(body({"choices": [older]})).structure == [
        {"name": "f", "arguments": {}}
    ]


def test_a_structure_is_there_when_it_is_wanted() -> None:
    read = OpenAiReader(None, structured=True).read(body(CHAT))
    assert read.structure == {
        "content": "Hello! How can I assist you today?",
        "tool_calls": [],
        "finish_reason": "stop",
    }


def test_a_pointer_leads_into_a_text_that_is_json() -> None:
    choice = {"message": {"content": '{"label": "spam", "score": 0.75}'}}
    answer = body({"choices": [choice]})
    assert OpenAiReader("/label").read(answer).labels == ("spam",)
    assert OpenAiReader("/score").read(answer).real() == (0.75,)
    assert "there is no key 'z'" in refusal(answer, output="/z")
    assert "the answer is not JSON" in refusal(
        body({"choices": [{"message": {"content": "spam"}}]}), output="/l"
    )
    with pytest.raises(ValueError, match="write tool_calls"):
        OpenAiReader("text")


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_a_stream_is_joined_to_the_answer_it_is(end: bytes) -> None:
    chunks = [delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo!"), delta("stop")]
    usage = {"id": "chatcmpl-123", "choices": [], "usage": {"total_tokens": 3}}
    whole = OpenAiReader(None, True).read(
        body({"choices": [{"message": {"content": "Hello!"}, "finish_reason": "stop"}]})
    )
    for media in (STREAM, JSON):  # some servers send a stream as JSON
        assert OpenAiReader(None, True).read(stream(*chunks, usage, end=end), media) == whole
    assert OpenAiReader().read(stream(*chunks, done=False, end=end), STREAM).labels == ("Hello!",)


def test_comments_and_other_fields_are_no_data() -> None:
    answer = b"\xef\xbb\xbf: OPENROUTER PROCESSING\n\nevent: message\nid: 7\nretry: 10\n" + stream(
        delta("stop", content="a")
    )
    assert OpenAiReader().read(answer, STREAM).labels == ("a",)
    assert list(event_data(b"data:1\ndata: 2\ndata\n\ndata:  3")) == [b"1\n2\n", b" 3"]
    assert list(event_data(b"event: x\n\n: comment\n\n")) == []


def test_deltas_belong_to_their_choice() -> None:
    chunks = [
        delta(index=1, content="b1"),
        delta(index=0, content="a1"),
        delta(index=1, content="b2"),
        delta("stop", 0),
    ]
    assert OpenAiReader().read(stream(*chunks), STREAM).labels == ("a1", "b1b2")


def test_fragments_of_calls_are_joined_by_their_index() -> None:
    def call(index: int, name: str | None, arguments: str) -> dict[str, object]:
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return delta(tool_calls=[{"index": index, "function": function}])

    chunks = [
        call(0, "get_current_weather", ""),
        call(1, "f", '{"a"'),
        call(0, None, '{"location": '),
        call(1, "f", ":1}"),
        call(0, None, '"Boston, MA"}'),
        delta("tool_calls"),
    ]
    read = OpenAiReader().read(stream(*chunks), STREAM)
    assert isinstance(read.structure, dict)
    assert read.structure["tool_calls"] == [CALLED, {"name": "f", "arguments": {"a": 1}}]


def test_logprobs_of_a_stream_are_of_all_its_tokens() -> None:
    def token(text: str, probability: float) -> dict[str, object]:
        logprobs = {"content": [{"token": text, "logprob": math.log(probability)}]}
        return {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs}]}

    read = OpenAiReader().read(stream(token("a", 0.9), token("b", 0.4), delta("stop")), STREAM)
    assert (read.labels, read.confidences) == (("ab",), (pytest.approx(0.6),))


def test_a_streamed_completion_is_joined() -> None:
    chunks = [{"choices": [{"text": text, "index": 0, "finish_reason": None}]} for text in ("This", " is")]
    assert OpenAiReader().read(stream(*chunks), STREAM).labels == ("This is",)


def test_embeddings_are_rows_of_numbers() -> None:
    items = [
        {"object": "embedding", "index": at, "embedding": row} for at, row in ((1, [3, 4.5]), (0, [1.5, 2.5]))
    ]
    read = OpenAiReader().read(body({"object": "list", "data": items, "model": "e"}))
    assert (read.rows, read.width, read.real()) == (2, 2, (1.5, 2.5, 3.0, 4.5))


@pytest.mark.parametrize("width", [2, 1536])
def test_embeddings_in_base64_are_the_same(width: int) -> None:
    vector = np.linspace(-1, 1, width).astype("<f4")
    item = {"embedding": base64.b64encode(vector.tobytes()).decode(), "index": 0}
    read = OpenAiReader().read(body({"data": [item]}))
    assert (read.rows, read.width) == (1, width)
    assert read.values.tolist() == [vector.astype(float).tolist()]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {"error": {"message": "model overloaded", "type": "server_error"}},
            "the answer is an error: 'model ov",
        ),
        ({"choices": []}, "the answer has no choices"),
        ({"choices": {}}, "choices is an object, not an array"),
        ({"choices": [1]}, "choice 0 is a whole number, not an object"),
        ({"choices": [{"index": -1}]}, "a choice has -1 for an index"),
        ({"choices": [{"index": 1e9}]}, "a choice has 1000000000.0 for an index"),
        ({"choices": [{"message": []}]}, "a choice's message is an array, not an object"),
        ({"choices": [{"message": {"content": 5}}]}, "a choice's content is a whole number, not text"),
        ({"choices": [{"message": {"tool_calls": {}}}]}, "a choice's tool_calls are an object, not an array"),
        ({"choices": [{"message": {"tool_calls": [1]}}]}, "a tool call is a whole number, not an object"),
        ({"choices": [{"message": {"tool_calls": [{"index": 10**9}]}}]}, "a tool call has 1000000000 for an"),
        ({"choices": [{"message": {"tool_calls": [{"function": 1}]}}]}, "a tool call's function is a whole"),
        ({"data": []}, "data is empty"),
        ({"data": {"a": 1}}, "data is an object, not an array of embeddings"),
        ({"data": [{"index": 0}]}, "element 0 of data has no embedding"),
        ({"data": [{"embedding": []}]}, "the embeddings are empty"),
        ({"data": [{"embedding": 1.0}]}, "the embeddings are no arrays of numbers"),
        ({"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}, "the embeddings has rows of different"),
        ({"data": [{"embedding": "AAA="}]}, "the embeddings are not all of one number of 32-bit floats"),
        ({"data": [{"embedding": "?"}]}, "the embeddings hold text that is not base64"),
        ({"data": [{"embedding": "AAAAAA=="}, {"embedding": [1]}]}, "the embeddings mix arrays and base64"),
        ({}, "the answer has neither choices nor data"),
        ([], "the answer is an array, not an object with choices or data"),
    ],
)
def test_what_is_no_answer_is_refused_with_a_precise_reason(document: object, reason: str) -> None:
    assert refusal(body(document)).startswith(reason)


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    assert "breaks off" in refusal(stream(delta(content="Hel"), done=False), STREAM)
    assert "breaks off" in refusal(b"", STREAM)
    assert "the answer is not JSON" in refusal(b'data: {"choices": [{"del', STREAM)
    error = {"error": {"message": "CUDA out of memory", "code": 500}}
    assert "ends with an error: 'CUDA out of memory'" in refusal(stream(delta(content="a"), error), STREAM)
    assert "an event of the stream is text" in refusal(b'data: "x"\n\n', STREAM)
    assert "has no choices" in refusal(stream(), STREAM)


def test_streams_are_bounded() -> None:
    assert "more than 100000 events" in refusal(b'data:{"choices":[]}\n\n' * (MAX_EVENTS + 1), STREAM)
    assert "more than 500000 lines" in refusal(b"data:\n" + b"\n" * 600_000, STREAM)
    assert "up to 8388608 are compared" in refusal(b"data:" + b"x" * 9_000_000, STREAM)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), TEXT), min_size=1), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_however_a_text_is_cut_the_stream_is_the_text(parts: list[tuple[int, str]], end: bytes) -> None:
    read = OpenAiReader().read(
        stream(*(delta(index=at, content=text) for at, text in parts), end=end), STREAM
    )
    indexes = sorted({at for at, _ in parts})
    assert read.labels == tuple("".join(text for at, text in parts if at == index) for index in indexes)
