#!/usr/bin/env bash
# transformers' Bark, coarse model, second codebook: ids behind the codebook are not shut out, and become codes of others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - <<'PY'
import sys
import torch, transformers
from transformers.models.bark import modeling_bark as bark
from transformers.models.bark.configuration_bark import BarkCoarseConfig
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkSemanticGenerationConfig,
)

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
sizes = BarkCoarseConfig(num_layers=1, num_heads=2, hidden_size=16, input_vocab_size=12_096, output_vocab_size=12_096)
model = bark.BarkCoarseModel(sizes).eval()
for parameter in model.parameters():
    if parameter.dim() > 1:
        torch.nn.init.normal_(parameter, std=0.4)
semantic = torch.randint(0, 10_000, (1, 400))
settings = BarkSemanticGenerationConfig(), BarkCoarseGenerationConfig(temperature=1.0)
tokens = model.generate(semantic, *settings)[0]
first, second = tokens[0::2], tokens[1::2]
print(f"{len(first)} frames; ids of codebook 1: {first.min()}..{first.max()}, of codebook 2: {second.min()}..{second.max()}")
outside = second[second >= 12_048]
print(f"{len(outside)} ids of codebook 2 are 12048 or more, outside its 11024..12047:", sorted(set(outside.tolist())))
print("codes that generate() of the fine model takes them for:", torch.remainder(outside - 10_000, 1024).tolist())
inside = first.min() >= 10_000 and first.max() < 11_024
sys.exit(0 if len(outside) and outside.max() < 12_096 and inside else "CHANGED: the ids are shut out")
PY
