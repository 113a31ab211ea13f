import subprocess
import sys

SCRIPT = """
import sys
from mnemic_vision.late_compiler import late_compiler

with late_compiler():
    import timm
    import torchvision.ops
print("torch._dynamo" in sys.modules)

import torch

image, box = torch.rand(1, 1, 8, 8), [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
print(torchvision.ops.roi_align(image, box, 2).shape == (1, 1, 2, 2))
kept_out = timm.models.naflexvit.NaFlexRopeIterator.__next__
print(hasattr(kept_out, "__wrapped__"))
print(torch.compile(torch.sin, backend="eager")(torch.zeros(1)).item())
print(torch._dynamo.__spec__.name, torch._dynamo.utils.is_compile_supported.__module__)
"""
FALLBACK = """
import sys
from mnemic_vision.late_compiler import late_compiler

with late_compiler():
    import torch
    print(torch._dynamo.reset.__module__, sys.modules["torch._dynamo"].__spec__.name)
"""


def run(script: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split("\n")


def test_packages_are_imported_without_the_compiler_and_find_it_when_they_use_it() -> None:
    without, pooled, wrapped, compiled, named, _ = run(SCRIPT)
    assert (without, pooled, wrapped, compiled) == ("False", "True", "True", "0.0")
    assert named == "torch._dynamo torch._dynamo.utils"


def test_other_names_are_those_of_the_compiler() -> None:
    assert run(FALLBACK)[0] == "torch._dynamo torch._dynamo"
