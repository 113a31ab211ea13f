"""One language of filters for all stores and modalities.

A condition on a value that an item lacks is false, and `Not` is true wherever its part is not, so that a filter and its
negation share all items between them. (In SQL both would leave out items without the value.)
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from mnemic_core.errors import UserError
from mnemic_retrieval.store.items import FieldType, Item, is_of_type

BUILT_IN: dict[str, FieldType] = {"id": "str", "modality": "str", "text": "str", "image_hash": "str", "version": "int"}
"""Fields that every item has."""

MAX_DEPTH = 16
"""Levels of And, Or and Not in each other; LanceDB needs minutes for some dozens."""

Scalar: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class Eq:
    """The field has a value."""

    field: str
    value: Scalar


@dataclass(frozen=True)
class In:
    """The field has one of some values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Between:
    """The field lies between two numbers or strings, both included; None is no bound."""

    field: str
    low: Scalar | None = None
    high: Scalar | None = None


@dataclass(frozen=True)
class HasTag:
    """The field, a list of tags, contains one."""

    field: str
    tag: str


@dataclass(frozen=True)
class IsNull:
    """The item lacks the field."""

    field: str


@dataclass(frozen=True)
class And:
    """All parts are true; without parts it is true."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Or:
    """One part is true; without parts it is false."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    """The part is not true."""

    part: "Filter"


Filter: TypeAlias = Eq | In | Between | HasTag | IsNull | And | Or | Not


def matches(where: Filter, item: Item) -> bool:
    """Return whether an item satisfies a filter that `check_filter` accepts.

    Example:
        >>> import torch
        >>> matches(Between("year", 1990), Item("a", torch.zeros(1), metadata={"year": 2001}))
        True
    """
    if isinstance(where, And | Or):
        found = (matches(part, item) for part in where.parts)
        return all(found) if isinstance(where, And) else any(found)
    if isinstance(where, Not):
        return not matches(where.part, item)
    value = getattr(item, where.field) if where.field in BUILT_IN else item.metadata.get(where.field)
    if isinstance(where, IsNull) or value is None:
        return isinstance(where, IsNull) and value is None
    return _fits(where, value)


def check_filter(where: Filter, fields: Mapping[str, FieldType], depth: int = MAX_DEPTH) -> None:
    """Raise ``UserError`` for a field that cannot be filtered, a value of another type, or too many levels.

    Args:
        where: the filter.
        fields: metadata fields that were declared when the memory was created.
        depth: levels that are allowed.
    """
    if isinstance(where, And | Or | Not):
        if not depth:
            raise UserError(f"the filter is nested too deeply: use at most {MAX_DEPTH} levels")
        for part in (where.part,) if isinstance(where, Not) else where.parts:
            check_filter(part, fields, depth - 1)
    else:
        known = BUILT_IN | dict(fields)
        if where.field not in known:
            raise UserError(f"no field {where.field!r} to filter by: the memory has {', '.join(sorted(known))}")
        _check_values(where, known[where.field])


def parse_filter(text: str) -> Filter:
    """Return the filter of an expression in the syntax of Python.

    Comparisons of a field with values (``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in [...]``, ``not in [...]``,
    ``is None``, ``is not None``), ``"tag" in field`` for tags, and ``and``, ``or``, ``not`` with parentheses.

    Raises:
        UserError: with the part that was not understood.

    Example:
        >>> parse_filter('year >= 1990 and not source == "web"')
        And(parts=(Between(field='year', low=1990, high=None), Not(part=Eq(field='source', value='web'))))
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"the filter {text!r} is no expression ({error}), such as 'year >= 1990 and \"red\" in tags'"
        ) from error
    try:
        return _parse(tree)
    except RecursionError:
        raise UserError("the filter is nested too deeply") from None


def _fits(where: Eq | In | Between | HasTag, value: Any) -> bool:
    if isinstance(where, HasTag):
        return where.tag in value
    if isinstance(where, Eq):
        return bool(value == where.value)
    if isinstance(where, In):
        return value in where.values
    return (where.low is None or value >= where.low) and (where.high is None or value <= where.high)


def _check_values(where: Eq | In | Between | HasTag | IsNull, kind: FieldType) -> None:
    if isinstance(where, IsNull):
        return
    if isinstance(where, HasTag) or kind == "tags":
        if not isinstance(where, HasTag) or kind != "tags":
            raise UserError(
                f'{where.field!r} is of type {kind}: ask for a tag as in "red" in tags, for others by comparison'
            )
        values: Sequence[Any] = (where.tag,)
        kind = "str"
    elif isinstance(where, In):
        values = where.values
    else:
        values = (where.value,) if isinstance(where, Eq) else (where.low, where.high)
    for value in values:
        if not (is_of_type(value, kind) or (value is None and isinstance(where, Between))):
            # Python refuses to print a number with thousands of digits.
            shown = (
                f"a number of {value.bit_length()} bits" if isinstance(value, int) and value >= 2**63 else repr(value)
            )
            raise UserError(f"{where.field!r} is of type {kind}, which {shown} is not")


def _parse(node: ast.expr) -> Filter:
    if isinstance(node, ast.BoolOp):
        parts = tuple(_parse(value) for value in node.values)
        return And(parts) if isinstance(node.op, ast.And) else Or(parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return Not(_parse(node.operand))
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        found = [_compare(*pair, op) for pair, op in zip(pairwise(sides), node.ops, strict=True)]
        return found[0] if len(found) == 1 else And(tuple(found))
    raise UserError(f"a filter cannot contain {ast.unparse(node)!r}: compare a field with a value")


def _compare(left: ast.expr, right: ast.expr, op: ast.cmpop) -> Filter:
    if isinstance(left, ast.Name):
        field, value = left.id, _literal(right)
        if not isinstance(op, ast.In | ast.NotIn | ast.Is | ast.IsNot) and not isinstance(value, str | int | float):
            raise UserError(f"{field} is compared with {value!r}: give one number or string, or use is None")
        if type(op) in _COMPARISONS:
            return _COMPARISONS[type(op)](field, value)
    elif isinstance(right, ast.Name):
        field, value = right.id, _literal(left)
        if isinstance(op, ast.In | ast.NotIn):
            return HasTag(field, value) if isinstance(op, ast.In) else Not(HasTag(field, value))
        if type(op) in _TURNED:
            return _COMPARISONS[_TURNED[type(op)]](field, value)
    shown = ast.unparse(ast.Compare(left, [op], [right]))
    raise UserError(f"a filter cannot contain {shown!r}: compare a field with a value")


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise UserError(
            f"{ast.unparse(node)!r} is no value: give a number, a string in quotes, or a list of them"
        ) from None


def _in(field: str, values: Any) -> Filter:
    if not isinstance(values, list | tuple):
        raise UserError(f"{field} in ... needs a list such as [1, 2], got {values!r}")
    return In(field, tuple(values))


def _is(field: str, value: Any) -> Filter:
    if value is not None:
        raise UserError(f"{field} is ... must be None, got {value!r}: use == for values")
    return IsNull(field)


_COMPARISONS: dict[type[ast.cmpop], Callable[[str, Any], Filter]] = {
    ast.Eq: Eq,
    ast.NotEq: lambda field, value: Not(Eq(field, value)),
    ast.GtE: lambda field, value: Between(field, low=value),
    ast.LtE: lambda field, value: Between(field, high=value),
    ast.Gt: lambda field, value: And((Between(field, low=value), Not(Eq(field, value)))),
    ast.Lt: lambda field, value: And((Between(field, high=value), Not(Eq(field, value)))),
    ast.In: _in,
    ast.NotIn: lambda field, value: Not(_in(field, value)),
    ast.Is: _is,
    ast.IsNot: lambda field, value: Not(_is(field, value)),
}
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
    ast.GtE: ast.LtE,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.Lt: ast.Gt,
}
