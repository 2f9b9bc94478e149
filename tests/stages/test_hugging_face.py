"""The stages make the tokens that Hugging Face's Bark makes from the same weights, with argmax sampling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.models.bark import configuration_bark as configs
from transformers.models.bark import generation_configuration_bark as generation
from transformers.models.bark import modeling_bark as hugging_face

from tests.fakes.tiny_bark import TINY, run, tiny_model, tiny_voice, tiny_work

# One chunk to a buffer's room, so that a short sentence is one pass as in the whole-sentence algorithm.
CONFIG = replace(TINY, fine=replace(TINY.fine, chunk_frames=(16,)))

COARSE = generation.BarkCoarseGenerationConfig(
    coarse_semantic_pad_token=90,
    coarse_infer_token=92,
    max_coarse_input_length=16,
    max_coarse_history=24,
    sliding_window_len=6,
)
FINE = generation.BarkFineGenerationConfig(
    max_fine_history_length=16, max_fine_input_length=32, n_fine_codebooks=4
)

RENAMED = {
    "transformer.wtes.": "input_embeds_layers.",
    "transformer.wte.": "input_embeds_layer.",
    "transformer.wpe.": "position_embeds_layer.",
    "transformer.h.": "layers.",
    "transformer.ln_f.": "layernorm_final.",
    ".ln_1.": ".layernorm_1.",
    ".ln_2.": ".layernorm_2.",
    ".c_attn.": ".att_proj.",
    "attn.c_proj.": "attn.out_proj.",
    ".c_fc.": ".in_proj.",
    "mlp.c_proj.": "mlp.out_proj.",
}


def with_weights_of(module, twin):
    """`twin`, Hugging Face's model, with the weights of ours."""
    state = {}
    for name, tensor in module.state_dict().items():
        for ours, theirs in RENAMED.items():
            name = name.replace(ours, theirs)
        state[name] = tensor
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("attn.bias") for name in missing)
    return twin.eval()


def semantic_config(num_tokens):
    return generation.BarkSemanticGenerationConfig(
        eos_token_id=50,
        text_encoding_offset=60,
        text_pad_token=118,
        semantic_infer_token=119,
        semantic_vocab_size=50,
        max_input_semantic_length=16,
        max_new_tokens=num_tokens,
    )


def sizes(transformer, **more):
    return {
        "num_layers": transformer.num_layers,
        "num_heads": transformer.num_heads,
        "hidden_size": transformer.width,
        "block_size": transformer.block_size,
        "input_vocab_size": transformer.input_vocab_size,
        "output_vocab_size": transformer.output_vocab_size,
        "bias": False,
        "dropout": 0.0,
        **more,
    }


@pytest.fixture(scope="module")
def model():
    model = tiny_model(CONFIG)
    # Hugging Face's odd coarse steps do not shut out the ids behind the codes; zeros there never win.
    model.coarse.lm_head.weight.data[90:] = 0
    return model


@pytest.fixture(scope="module")
def twins(model):
    config = model.config
    return (
        with_weights_of(
            model.semantic,
            hugging_face.BarkSemanticModel(configs.BarkSemanticConfig(**sizes(config.semantic.transformer))),
        ),
        with_weights_of(
            model.coarse,
            hugging_face.BarkCoarseModel(configs.BarkCoarseConfig(**sizes(config.coarse.transformer))),
        ),
        with_weights_of(
            model.fine,
            hugging_face.BarkFineModel(
                configs.BarkFineConfig(**sizes(config.fine.transformer, n_codes_total=4, n_codes_given=1))
            ),
        ),
    )


@pytest.mark.filterwarnings("ignore")  # of the other implementation's own making
@pytest.mark.parametrize(("num_history", "num_tokens"), [(0, 10), (5, 10), (40, 10), (40, 32)])
@torch.inference_mode()
def test_all_three_stages_make_the_same_tokens(model, twins, num_history, num_tokens):
    """Equal with and without history, over several windows of the coarse and of the fine model."""
    voice = tiny_voice(num_history)
    work = tiny_work(voice, text=tuple(range(16)), max_tokens=num_tokens, config=CONFIG)
    run(model, work)

    prompt = None
    if num_history:
        prompt = {
            "semantic_prompt": torch.from_numpy(voice.semantic),
            "coarse_prompt": torch.from_numpy(voice.coarse),
            "fine_prompt": torch.from_numpy(voice.fine),
        }
    semantic_twin, coarse_twin, fine_twin = twins
    settings = semantic_config(num_tokens)
    text = torch.tensor([work.text_tokens])
    semantic = semantic_twin.generate(text, settings, history_prompt=prompt)
    assert work.semantic.tokens == semantic[0].tolist()
    coarse = coarse_twin.generate(semantic, settings, COARSE, codebook_size=20, history_prompt=prompt)
    assert work.coarse.tokens == coarse[0].tolist()
    fine = fine_twin.generate(coarse, settings, COARSE, FINE, codebook_size=20, history_prompt=prompt)
    np.testing.assert_array_equal(work.fine.codes[:, : work.fine.num_frames].numpy(), fine[0].numpy())
