#!/bin/sh
# SimulEval: with --computation-aware the plain latency columns hold computation-aware values.
#
# Guess:  --computation-aware adds columns such as AL_CA; AL stays what it is without the flag.
# Seen:   simuleval 1.1.4, --score-only on a log of two translations: AL is 406.7 without the flag; with it AL and AL_CA
#         are both 476.7, and likewise LAAL, DAL and ATD.
# So:     take AL, LAAL, DAL and ATD from a run without the flag, and only the _CA columns from one with it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "numpy==2.4.6" "pandas==3.1.1" "sacrebleu==2.6.0" "PyYAML==6.0.4" \
    "tqdm==4.70.1" "TextGrid==1.6.1" "soundfile==0.14.0" requests tornado
"$work/venv/bin/python" -m pip install -q --no-deps "simuleval==1.1.4"
cd "$work"
printf 'a.wav\nb.wav\n' > source.txt
printf 'der kleine Hund\neine Katze schlaf\n' > reference.txt
cat > instances.log <<'LOG'
{"index": 0, "prediction": "ein kleiner Hund", "delays": [640.0, 960.0, 1500.0], "elapsed": [700.0, 1010.0, 1600.0], "prediction_length": 3, "reference": "der kleine Hund", "source": ["a.wav"], "source_length": 1500.0}
{"index": 1, "prediction": "eine Katze", "delays": [320.0, 640.0], "elapsed": [400.0, 700.0], "prediction_length": 2, "reference": "eine Katze schlaf", "source": ["b.wav"], "source_length": 1200.0}
LOG
score() {
    mkdir "$1"
    cp instances.log "$1"
    venv/bin/simuleval --score-only --output "$1" --source source.txt --target reference.txt --source-type speech \
        --target-type text --quality-metrics BLEU --latency-metrics AL $2 2> /dev/null
}
score plain "" | tee plain.txt
score aware --computation-aware | tee aware.txt
venv/bin/python - <<'PYTHON'
# The second line begins with the number of the row.
plain, aware = (
    dict(zip(lines[0].split(), lines[1].split()[1:]))
    for lines in (open(f"{name}.txt").read().splitlines() for name in ("plain", "aware"))
)
assert abs(float(plain["AL"]) - 406.667) < 0.01, plain
assert aware["AL"] == aware["AL_CA"] != plain["AL"], aware
PYTHON
