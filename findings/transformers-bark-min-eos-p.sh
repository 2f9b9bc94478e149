#!/usr/bin/env bash
# transformers' Bark judges min_eos_p before the temperature; Suno's own code judges what is left after it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - <<'PY'
import sys
import torch, transformers
from transformers.models.bark import modeling_bark as bark
from transformers.models.bark.configuration_bark import BarkSemanticConfig
from transformers.models.bark.generation_configuration_bark import BarkSemanticGenerationConfig

TEMPERATURE, MIN_EOS_P, LONGEST, END = 0.7, 0.05, 200, 10_000
print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
sizes = BarkSemanticConfig(num_layers=1, num_heads=2, hidden_size=16, input_vocab_size=129_600, output_vocab_size=10_048)
model = bark.BarkSemanticModel(sizes).eval()
for parameter in model.parameters():
    if parameter.dim() > 1:
        torch.nn.init.normal_(parameter, std=0.4)
torch.nn.init.normal_(model.lm_head.weight.data[END], std=1.3)
logits = []
model.lm_head.register_forward_hook(lambda _module, _inputs, made: logits.append(made[0, -1, : END + 1]))
num_late = 0
for number in range(8):
    text = torch.randint(0, 100_000, (1, 256))
    logits.clear()
    settings = BarkSemanticGenerationConfig(
        do_sample=True, temperature=TEMPERATURE, top_k=0, min_eos_p=MIN_EOS_P, max_new_tokens=LONGEST
    )
    tokens = model.generate(text, settings)[0].tolist()
    length = tokens.index(END) if END in tokens else len(tokens)
    before = [step.softmax(0)[END].item() for step in logits]
    after = [(step / TEMPERATURE).softmax(0)[END].item() for step in logits]
    likely = next((step for step, end in enumerate(after) if end >= MIN_EOS_P), None)
    told = f"text {number}: {length} tokens"
    if likely is not None and likely < length:
        num_late += 1
        told += (
            f"; at step {likely} the end has {after[likely]:.3f} at temperature {TEMPERATURE}, "
            f"{before[likely]:.3f} at 1, and {length - likely} tokens follow"
        )
    print(told)
print(f"{num_late} of 8 went on behind an end of {MIN_EOS_P} or more")
sys.exit(0 if num_late >= 2 else "CHANGED: min_eos_p is judged after the temperature")
PY
