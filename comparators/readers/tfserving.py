"""TensorFlow Serving's REST interface: what `:predict` answers.

    {"predictions": [[0.1, 0.9], …]}                 rows: one value an instance, one output
    {"predictions": [{"class": 1, "score": 0.9}, …]} rows, several outputs
    {"outputs": [[0.1, 0.9], …]}                     columns, one output
    {"outputs": {"class": [1], "score": [0.9]}}      columns, several outputs

A value that need not be text comes as {"b64": …}. Outputs come in no particular order, so where there are
several, `output` names one. Source: TensorFlow Serving, "RESTful API", "Predict API".
"""

from __future__ import annotations

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.scalars import noun
from comparators.readers.tables import TableReader, table
from comparators.wording import quoted
from domain.media import JSON, Media


class TfServingReader(TableReader):
    """Reads the output called `output`; what a pointer leads to; or the only output."""

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        document = decode(inflated(body, media))
        if not isinstance(document, dict):
            raise Unreadable(f"the answer is {noun(document)}, not an object with predictions or outputs")
        for key in ("predictions", "outputs"):
            if key in document:
                return table(document[key], self._choice, key, self._structured)
        if "error" in document:
            raise Unreadable(f"the answer is an error: {quoted(document['error'])}")
        if "result" in document:
            raise Unreadable("the answer is that of classify or regress; call the model's predict")
        raise Unreadable("the answer has neither predictions nor outputs")
