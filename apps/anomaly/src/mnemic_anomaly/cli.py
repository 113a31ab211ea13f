"""Command line ``mnemic-anomaly``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-anomaly",
    description="Find anomalies in medical images with a network that was trained on normal ones.",
    commands={
        "run": "score images; write scores.csv, heat maps and one page sorted by score",
        "evaluate": "score a checkpoint on labeled images: AUROC, average precision, localization, speed",
        "demo": "draw textures with defects, score them, and write the page",
        "fit": "train on normal images from a config, such as: fit --config memmc_mae_generated",
        "validate": "score a checkpoint on the validation images of a config",
        "test": "score a checkpoint on the test images of a config",
        "predict": "write the scores of the test images of a config",
        "compare": "train each memory with several seeds on the same budget and compare",
        "export": "write a detector as one ONNX graph, and compare the two",
        "generate": "write textures with defects, or normal images with pasted lesions, with masks",
    },
    package="mnemic_anomaly.commands",
)
main = PROGRAM.main
