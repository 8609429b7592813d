"""The registered model, loaded by MLflow from this file and its bundle; nothing is pickled."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from mmesid.errors import RequestError
from mmesid.serving import Answer, Service, load


class RegisteredRecommender(PythonModel):  # type: ignore[misc]
    """A table with a column `history` in, the best items out; `params={"k": 10}` says how many."""

    service: Service

    def load_context(self, context: Any) -> None:
        """Rebuild the recommender on the GPU if there is one."""
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.service = load(Path(context.artifacts["bundle"]), device)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Recommend for each row.

        Args:
            context: unused, the recommender is loaded.
            model_input: `history`, a list of item ids or one text with commas between them, oldest first.
            params: `k`, items per row.

        Returns:
            item_ids, titles and scores, lists with the best first, and note, empty unless the request needs a comment.

        Raises:
            MlflowException: a history is empty or holds no known item, or k is out of range; a server answers 400.
        """
        try:
            answers = self._answers(model_input, (params or {}).get("k", 10))
        except RequestError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        rows = [
            {
                "item_ids": [item.item_id for item in answer.items],
                "titles": [item.title for item in answer.items],
                "scores": [item.score for item in answer.items],
                "note": answer.note,
            }
            for answer in answers
        ]
        return pd.DataFrame(rows, columns=["item_ids", "titles", "scores", "note"])

    def _answers(self, model_input: pd.DataFrame, k: int) -> list[Answer]:
        if "history" not in model_input:
            raise RequestError(f"expected a column `history`, got {', '.join(map(str, model_input.columns))}")
        return self.service.recommend([_as_list(history) for history in model_input["history"]], int(k))


def _as_list(history: Any) -> list[Any]:
    if history is None or (isinstance(history, float) and math.isnan(history)):  # a missing value
        return []
    if isinstance(history, str):
        history = history.split(",")
    parts = [history] if isinstance(history, int | float) else history
    return [part for part in parts if str(part).strip()]


set_model(RegisteredRecommender())
