import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.store import And, Between, Eq, Filter, HasTag, In, IsNull, Not, Or, parse_filter
from mnemic_retrieval.store.filters import check_filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year == 1990", Eq("year", 1990)),
        ('source == "it\'s"', Eq("source", "it's")),
        ("1990 <= year", Between("year", low=1990)),
        ("1990 <= year <= 2000", And((Between("year", low=1990), Between("year", high=2000)))),
        ("weight < -1.5", And((Between("weight", high=-1.5), Not(Eq("weight", -1.5))))),
        ("weight != 2", Not(Eq("weight", 2))),
        ("year in [1, 2]", In("year", (1, 2))),
        ("year not in ()", Not(In("year", ()))),
        ('"red" in tags', HasTag("tags", "red")),
        ('"red" not in tags', Not(HasTag("tags", "red"))),
        ("year is None", IsNull("year")),
        ("year is not None", Not(IsNull("year"))),
        (
            "not (a == 1 or b == 2) and is_checked == True",
            And((Not(Or((Eq("a", 1), Eq("b", 2)))), Eq("is_checked", True))),
        ),
    ],
)
def test_expressions(text: str, expected: Filter) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no expression"),
        ("year = 1990", "is no expression"),
        ("year == ", "is no expression"),
        ("year", "cannot contain 'year'"),
        ("year + 1 == 2", "cannot contain 'year"),
        ("year == other", "'other' is no value"),
        ("year == f(1)", r"'f\(1\)' is no value"),
        ("year in 3", "needs a list"),
        ("year is 3", "must be None, got 3"),
        ("1 == 2", "cannot contain '1 == 2'"),
        ("year == None", "use is None"),
        ("year >= [1]", "give one number or string"),
        ("__import__('os').system('true')", "cannot contain"),
        ("not " * 3000 + "a == 1", "nested|no expression"),
    ],
)
def test_what_is_no_filter_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        parse_filter(text)
    assert "\n" not in str(refused.value)


def test_filters_have_few_levels() -> None:
    check_filter(parse_filter("not " * 16 + "year == 1"), {"year": "int"})
    with pytest.raises(UserError, match="at most 16 levels"):
        check_filter(parse_filter("not " * 17 + "year == 1"), {"year": "int"})


@pytest.mark.parametrize("value", ["0x" + "f" * 5000, "'\\ud800'", "'a\\0b'"])
def test_values_that_no_engine_takes_are_refused(value: str) -> None:
    with pytest.raises(UserError, match="is of type"):
        check_filter(parse_filter(f"field == {value}"), {"field": "int" if value[0] == "0" else "str"})
