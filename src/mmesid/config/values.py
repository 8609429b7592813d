"""What a parameter may be, and what all sections have in common."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Modality = Literal["collaborative", "text", "image"]
Rival = Literal["content_transformer"]
Evidence = Literal["popularity", "transitions", "text", "image", "text_codes", "image_codes"]


class Section(BaseModel):
    """A section of the parameters: unknown keys are errors, values never change, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
