#!/usr/bin/env bash
# transformers' Bark in a batch: the fine model sees coarse codes beyond the end of a row that is shorter than another.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - <<'PY'
import sys
import torch, transformers
from transformers.models.bark import modeling_bark as bark
from transformers.models.bark.configuration_bark import BarkCoarseConfig, BarkFineConfig
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
narrow = {"num_layers": 1, "num_heads": 2, "hidden_size": 16}
coarse = bark.BarkCoarseModel(BarkCoarseConfig(**narrow, input_vocab_size=12_096, output_vocab_size=12_096)).eval()
fine = bark.BarkFineModel(BarkFineConfig(**narrow, input_vocab_size=1056, output_vocab_size=1056)).eval()
for model in (coarse, fine):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
coarse.lm_head.weight.data[12_048:] = 0  # ids that the second codebook does not shut out never win: another matter
semantic_config, coarse_config = BarkSemanticGenerationConfig(), BarkCoarseGenerationConfig()
settings = semantic_config, coarse_config
LONG, SHORT = 150, 60
semantic = torch.randint(0, 10_000, (2, LONG))
semantic[1, SHORT:] = coarse_config.coarse_semantic_pad_token
together, lengths = coarse.generate(semantic, *settings, return_output_lengths=True)
alone = coarse.generate(semantic[1:, :SHORT], *settings)
num_tokens = alone.shape[1]
print(f"the short row: {num_tokens} coarse tokens alone, {int(lengths[1])} told of {together.shape[1]} in the batch")
print("its coarse tokens in the batch are those alone:", torch.equal(together[1, :num_tokens], alone[0]))
in_batch = fine.generate(together, *settings, BarkFineGenerationConfig())[1, :, : num_tokens // 2]
by_itself = fine.generate(alone, *settings, BarkFineGenerationConfig())[0]
shares = (in_batch != by_itself).float().mean(dim=1)
print("greedy fine codes of the short row that differ, by codebook:", " ".join(f"{share:.2f}" for share in shares))
same_coarse = torch.equal(together[1, :num_tokens], alone[0])
sys.exit(0 if same_coarse and shares[2:].mean() > 0.2 else "CHANGED: a row's fine codes do not depend on the batch")
PY
