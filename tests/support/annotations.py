"""Types as a caller may give them, beside types as a struct keeps them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import UnsetType


def plain_type(annotation: Any) -> Any:
    """The annotation without limits, UNSET, and the wider containers and enum names that callers may give."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return plain_type(arguments[0])
    if origin in {Mapping, dict}:
        return ("object", *map(plain_type, arguments))
    if origin in {Sequence, list, tuple}:
        return ("array", plain_type(arguments[0]))
    if origin is Literal:
        return frozenset(arguments)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return frozenset(map(str, annotation))
    if origin in {Union, UnionType}:
        kinds = {plain_type(item) for item in arguments if item is not UnsetType}
        kinds -= {int} if float in kinds else set()  # a type checker takes an int for a float
        return kinds.pop() if len(kinds) == 1 else frozenset(kinds)
    return annotation
