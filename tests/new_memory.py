"""A memory that is one file with its entry, as text for tests that add it."""

ECHO = '''
from mnemic_core.mechanism import Mechanism
from mnemic_core.slots.no_memory import NoMemory


class EchoMemory(NoMemory):
    """Recalls the query."""

    def __init__(self, dim: int, *, volume: int = 2) -> None:
        super().__init__(dim)
        self.volume = volume


ECHO = Mechanism(
    name="echo",
    cls=EchoMemory,
    place="beside",
    is_read_write=True,
    paper="none",
    arxiv=None,
    objective=("ablation",),
    representation="none",
    integration=("none",),
    read="the query",
    write="nothing",
    forget="everything",
    capacity="0",
    cost="0",
    bytes_per_row="8",
    presets={"echo_loud": {"volume": 9}},
)
'''
