from mnemic_kit.parse import call


def test_options_may_be_spelt_with_hyphens() -> None:
    seen: dict[str, object] = {}

    def command(max_size: int = 0, data_name: str = "") -> None:
        """Remember the options.

        Args:
            max_size: a size.
            data_name: a name, whose hyphens stay.
        """
        seen.update(max_size=max_size, data_name=data_name)

    call(command, "program test", ["--max-size=3", "--data_name", "a-b"])
    assert seen == {"max_size": 3, "data_name": "a-b"}


def test_a_switch_needs_no_value_but_may_have_one() -> None:
    seen: list[tuple[bool, str]] = []

    def command(json: bool = False, name: str = "") -> None:
        """Remember the options.

        Args:
            json: a switch.
            name: a name.
        """
        seen.append((json, name))

    for words in (["--json"], ["--json", "--name", "x"], ["--json", "false", "--name=x"], []):
        call(command, "program test", words)
    assert seen == [(True, ""), (True, "x"), (False, "x"), (False, "")]
