"""scikit-learn models behind KServe's own model server, V2 protocol. Runs in KServe's environment.

    python kserve_server.py MODELS PORT

MODELS is a folder with `NAME/model.joblib` for each model. A model answers `predict` and, when it is a
classifier, `predict_proba`: as JSON, or as binary tensors when the request asks for `binary_data_output`.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import joblib
import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32"}


class SklearnModel(Model):
    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name)
        self.model = joblib.load(file)
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:
        rows = payload.inputs[0].as_numpy()
        answers = {"predict": self.model.predict(rows)}
        if hasattr(self.model, "predict_proba"):
            answers["predict_proba"] = self.model.predict_proba(rows)
        binary = bool(payload.use_binary_outputs)
        outputs = []
        for name, values in answers.items():
            output = InferOutput(name, list(values.shape), DATATYPES[values.dtype.name])
            output.set_data_from_numpy(np.ascontiguousarray(values), binary_data=binary)
            outputs.append(output)
        return InferResponse(payload.id or str(uuid.uuid4()), self.name, outputs, use_binary_outputs=binary)


if __name__ == "__main__":
    models, port = Path(sys.argv[1]), int(sys.argv[2])
    server = ModelServer(http_port=port, enable_grpc=False, workers=1, enable_docs_url=False)
    server.start([SklearnModel(file.parent.name, file) for file in sorted(models.glob("*/model.joblib"))])
