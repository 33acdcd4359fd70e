"""MLflow's scoring server: what `/invocations` answers.

    {"predictions": ...}

Below `predictions` stands what the model's `predict` returned: an array or a series is a list ([0.2, 0.7] are
two rows), a matrix is a list of lists, a data frame is a list of records ([{"0": 0.1, "1": 0.9}]), a
dictionary of tensors is an object of lists, a text is a text. Requests in the form of a chat are answered
without `predictions`, as MLflow before 2.0 answered everything; then the document itself is the prediction.
Source: mlflow.pyfunc.scoring_server, `predictions_to_json` and `unwrapped_predictions_to_json`.
"""

from __future__ import annotations

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.tables import TableReader, table
from comparators.wording import quoted
from domain.media import JSON, Media


class MlflowReader(TableReader):
    """Reads the column or tensor called `output`; what a pointer leads to; or all there is."""

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        document = decode(inflated(body, media))
        if not isinstance(document, dict):
            return table(document, self._choice, "the answer", self._structured)
        if "predictions" in document:
            return table(document["predictions"], self._choice, "predictions", self._structured)
        if "error_code" in document:
            raise Unreadable(f"the answer is an error: {quoted(document.get('message'))}")
        return table(document, self._choice, "the answer", self._structured)
