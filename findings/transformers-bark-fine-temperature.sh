#!/usr/bin/env bash
# transformers' Bark, fine model: temperature 1.0 does not sample, it takes the likeliest code; 0.9999 samples.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - <<'PY'
import sys
import torch, transformers
from transformers.models.bark import modeling_bark as bark
from transformers.models.bark.configuration_bark import BarkFineConfig
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
sizes = BarkFineConfig(num_layers=1, num_heads=2, hidden_size=16, input_vocab_size=1056, output_vocab_size=1056)
model = bark.BarkFineModel(sizes).eval()
frames = torch.randint(0, 1024, (1, 50, 2))
coarse = (frames + torch.tensor([10_000, 11_024])).flatten(1)


def made(temperature, seed):
    torch.manual_seed(seed)
    settings = BarkSemanticGenerationConfig(), BarkCoarseGenerationConfig(), BarkFineGenerationConfig()
    return model.generate(coarse, *settings, temperature=temperature)


differing = {
    temperature: (made(temperature, 1) != made(temperature, 2)).float().mean().item()
    for temperature in (0.5, 0.9999, 1.0, 1.0001)
}
for temperature, share in differing.items():
    print(f"temperature {temperature}: {share:.0%} of the codes differ between two seeds")
is_as_found = differing[1.0] == 0 and min(differing[0.9999], differing[1.0001]) > 0.5
sys.exit(0 if is_as_found else "CHANGED: temperature 1.0 is sampled")
PY
