"""Filters as conditions of SQL, for engines that speak it."""

from typing import Any

from mnemic_retrieval.store.filters import And, Between, Eq, Filter, HasTag, In, IsNull, Not, Or
from mnemic_retrieval.store.rows import column_of


def to_sql(where: Filter, has_tag: str) -> str:
    """Return a condition that is true or false, never unknown, for a filter that was checked.

    Args:
        where: the filter.
        has_tag: SQL of "the column contains the tag", with both in braces.
    """

    def convert(part: Filter) -> str:
        if isinstance(part, And):
            return f"({' AND '.join(map(convert, part.parts))})" if part.parts else "TRUE"
        if isinstance(part, Or):
            return f"({' OR '.join(map(convert, part.parts))})" if part.parts else "FALSE"
        if isinstance(part, Not):
            return f"(NOT {convert(part.part)})"
        name = column_of(part.field)
        if isinstance(part, IsNull):
            return f"({name} IS NULL)"
        return f"(({_condition(part, name)}) IS TRUE)"

    def _condition(part: Eq | In | Between | HasTag, name: str) -> str:
        if isinstance(part, HasTag):
            return has_tag.format(column=name, tag=quoted(part.tag))
        if isinstance(part, Eq):
            return f"{name} = {quoted(part.value)}"
        if isinstance(part, In):
            return f"{name} IN ({', '.join(map(quoted, part.values))})" if part.values else "FALSE"
        bounds = [f"{name} >= {quoted(part.low)}"] if part.low is not None else []
        bounds += [f"{name} <= {quoted(part.high)}"] if part.high is not None else []
        return " AND ".join(bounds) or f"{name} IS NOT NULL"

    return convert(where)


def quoted(value: Any) -> str:
    """Return a string, number or truth value as a literal of standard SQL."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"
