"""Which TFP class an object is of."""

from __future__ import annotations


def is_kind(instance: object, class_name: str) -> bool:
    """Whether `instance` is a TFP `class_name` or of a subclass.

    By name: `tfd.Independent(...)` and many more return an object of the private base class `_Independent`, no instance
    of `tfd.Independent`, unless every part of them is a composite tensor.
    """
    return any(cls.__name__.lstrip("_") == class_name for cls in type(instance).__mro__)
