"""The one exception that tells a mistake of the user from a defect of the program."""


class UserError(ValueError):
    """Wrong input, settings or files, with what was expected, what was given and the way out in one line.

    Programs show it as one line and exit with code 2. Any other ``ValueError``, such as one raised by torch, is a
    defect and keeps its traceback.
    """
