from mnemic_track.commands.parse import call


def test_options_may_be_spelt_with_hyphens() -> None:
    seen: dict[str, object] = {}

    def command(max_size: int = 0, data_name: str = "") -> None:
        """Remember the options.

        Args:
            max_size: a size.
            data_name: a name, whose hyphens stay.
        """
        seen.update(max_size=max_size, data_name=data_name)

    call(command, "test", ["--max-size=3", "--data_name", "a-b"])
    assert seen == {"max_size": 3, "data_name": "a-b"}
