#!/bin/sh
# torchmetrics: multi-scale SSIM leaves the border out of its contrasts, but not out of its similarity.
#
# Guess:  the means of all scales are over the same pixels: those whose window lies in the image (as in the paper's
#         code), or all of them with reflected borders.
# Seen:   torchmetrics 1.9.0: contrasts are means without the border, the similarity of the coarsest scale is one with
#         it. That scale has 12 x 12 pixels for an image of 192, of which 2 x 2 are not border. For Gaussian weights
#         kernel_size is ignored: the window follows from sigma.
# So:     our own means over the pixels whose window lies in the image, at every scale.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "numpy==2.4.6" "torch==2.11.0" "torchmetrics==1.9.0"
cat > "$work/similarity.py" <<'PYTHON'
import torch
import torch.nn.functional as F
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as multi_scale
from torchmetrics.functional.image import structural_similarity_index_measure as single_scale

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def inside(means):
    return means[..., 5:-5, 5:-5].mean().item()


def factors(image, other):
    """Mean contrast and similarity of one scale, without and with the border, from Gaussian means by definition."""
    taps = torch.exp(-torch.arange(-5.0, 6.0).double() ** 2 / (2 * 1.5**2))
    kernel = (taps[:, None] * taps / taps.sum() ** 2)[None, None]
    def blur(values):
        return F.conv2d(F.pad(values, (5, 5, 5, 5), mode="reflect"), kernel)

    a, b = blur(image), blur(other)
    variances = blur(image**2) - a**2 + blur(other**2) - b**2
    contrast = (2 * (blur(image * other) - a * b) + 9e-4) / (variances + 9e-4)
    similarity = contrast * (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    return inside(contrast), inside(similarity), contrast.mean().item(), similarity.mean().item()


def product(values):
    return torch.tensor([value**weight for value, weight in zip(values, WEIGHTS)]).prod().item()


torch.manual_seed(0)
image = torch.rand(1, 1, 192, 192, dtype=torch.float64)
other = (image + 0.3 * torch.randn_like(image)).clamp(0, 1)
found = multi_scale(other, image, data_range=1.0).item()
scales, pair = [], (image, other)
for _ in WEIGHTS:
    scales.append(factors(*pair))
    pair = tuple(F.avg_pool2d(each, 2) for each in pair)
cases = {
    "without the border": product([each[0] for each in scales[:-1]] + [scales[-1][1]]),
    "with the border": product([each[2] for each in scales[:-1]] + [scales[-1][3]]),
    "with it at the coarsest only": product([each[0] for each in scales[:-1]] + [scales[-1][3]]),
}
print(f"{'torchmetrics':30} {found:.6f}")
for name, expected in cases.items():
    print(f"{name:30} {expected:.6f}")
assert abs(found - cases["with it at the coarsest only"]) < 1e-5
assert min(abs(found - cases[name]) for name in ("without the border", "with the border")) > 1e-3
sizes = {single_scale(other, image, data_range=1.0, kernel_size=size).item() for size in (3, 11, 21)}
print("kernel_size 3, 11, 21:", sizes)
assert len(sizes) == 1
PYTHON
cd "$work" && venv/bin/python similarity.py
