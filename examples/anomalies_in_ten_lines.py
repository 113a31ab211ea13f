"""Anomalies in images: textures of which every other one has a defect, scored, labeled and located."""

# %%
from pathlib import Path

from mnemic_vision.memmc_mae import DetectorCheckpoint, prepare
from mnemic_vision.memmc_mae.data import GeneratedTextures

checkpoints = Path(__file__).parents[1] / "apps/anomaly/src/mnemic_anomaly/checkpoints"
detector = DetectorCheckpoint.load(checkpoints / "demo/generated.safetensors").detector()
config = detector.model.config

# %%
for sample in GeneratedTextures(num_train=0, num_val=0, num_test=8, size=config.image_size).open():
    picture = sample.load()  # or read_picture("my.png").pixels of mnemic_vision.picture_files
    found = detector.detect(prepare(picture, config.image_size, config.channels)[None])
    row, column = divmod(int(found.map.argmax()), config.image_size)
    verdict = "anomalous" if found.label else "normal"
    print(f"{sample.group or 'normal':<10} score {float(found.scaled):.2f}, {verdict}; highest at {row}, {column}")
