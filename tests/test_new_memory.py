"""A new memory is one file with its entry: every configuration and every help text offers it without another edit."""

import os
import subprocess
import sys
from pathlib import Path

from new_memory import ECHO

ROOT = Path(__file__).parents[1]
SCRIPT = """
import contextlib, io, sys
import mnemic_core
mnemic_core.__path__.append(sys.argv[1])

def shown(main, *words):
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return page.getvalue()

from pathlib import Path
from mnemic_kit.cli import TRAINING
from programs import find_programs
from mnemic_lm import cli as lm
pages = {
    (name, command): shown(program.main, command)
    for name, program in find_programs(Path(sys.argv[2])).items()
    for command in program.commands if command not in TRAINING
}
offering = {key for key, page in pages.items() if "exponential" in page}
assert len({name for name, _ in offering}) >= 4, offering
assert offering == {key for key, page in pages.items() if "echo_loud" in page}
assert "torch" not in sys.modules
assert "echo_loud" in shown(lm.main, "fit")

from mnemic_core import MemoryConfig, TransformerConfig, build_transformer
from mnemic_algorithms.machines import MachineConfig, build_machine
from mnemic_speech.conformer_ntm import ConformerNtmConfig
from mnemic_vision.memotr import MemotrConfig
echo = MemoryConfig("echo_loud")
for config in (TransformerConfig(memory=echo), MachineConfig(echo), ConformerNtmConfig(5, memory=echo),
               MemotrConfig(memory=echo)):
    assert config.memory.build(4).volume == 9
    assert "echo_loud" in type(config).__doc__
build_transformer(TransformerConfig(8, 1, 2, 8, memory=echo))

from mnemic_algorithms.machines import machine_arguments
from mnemic_lm.commands.compare import make_variant
config = Path(lm.__file__).parent / "configs" / "shakespeare_bytes.yaml"
assert '"name": "echo_loud"' in make_variant("echo_loud", config).options[0]
assert machine_arguments("echo_loud") == ["--model.config.memory.name=echo_loud"]
"""


def test_a_file_with_an_entry_is_offered_by_every_configuration_and_help_text(tmp_path: Path) -> None:
    (tmp_path / "echo_memory.py").write_text(ECHO)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), str(ROOT)], check=True, env=environment)
