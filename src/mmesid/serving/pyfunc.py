"""The registered model, loaded by MLflow from this file and its bundle; nothing is pickled."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from mmesid.errors import RequestError
from mmesid.serving import Answer, Service, load, split_ids


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
            model_input: `history`, a list of item ids or one text with commas between them (`split_ids`), oldest first.
                A server takes them as JSON alone.
            params: `k`, items per row, 10 by default.

        Returns:
            item_ids, titles and scores, lists with the best first, and note, empty unless the request needs a comment.

        Raises:
            MlflowException: a history is empty or holds no known item, or k is out of range; a server answers 400.
        """
        try:
            answers = self._answers(model_input, (params or {}).get("k"))
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

    def _answers(self, model_input: pd.DataFrame, k: Any) -> list[Answer]:
        if "history" not in model_input:
            raise RequestError(f"expected a column `history`, got {', '.join(map(str, model_input.columns))}")
        k = 10 if k is None else k.item() if isinstance(k, np.generic) else k
        return self.service.recommend([_as_list(history) for history in model_input["history"]], k)


def _as_list(history: Any) -> Any:
    """What is no list stays as it is: the service says what it expected."""
    if isinstance(history, str):
        return split_ids(history)
    if isinstance(history, list | tuple | np.ndarray):
        return [part for part in history if str(part).strip()]
    if pd.api.types.is_scalar(history):
        return [] if pd.isna(history) else [history]
    return history


set_model(RegisteredRecommender())
