"""Bark's three loops written straight down, not streamed and not cached; argmax, or drawn with keyed noise.

After the description of suno-ai/bark's `generate_text_semantic`, `generate_coarse` and `generate_fine`.
"""

from __future__ import annotations

import numpy as np
import torch

from streamer.engine.device.noise import exponential, noise_key
from streamer.models.files.checkpoint import LoadedModel
from streamer.sampling import SamplingParams
from streamer.voices.voice import Voice

GREEDY = SamplingParams(seed=0, text_temp=0, waveform_temp=0, fine_temp=None, min_eos_p=None)


def probabilities(logits: np.ndarray, temperature: float | None, params: SamplingParams) -> np.ndarray:
    """Top-p on the plain logits, top-k keeping ties, temperature, softmax; no temperature is all on the best."""

    def softmax(values):
        powers = np.exp(values - values.max())
        return powers / powers.sum()

    logits = logits.astype(np.float64).copy()
    if not temperature:
        return (np.arange(len(logits)) == logits.argmax()).astype(float)
    if params.top_p is not None:
        order = np.argsort(logits)[::-1]
        is_beyond = np.cumsum(softmax(logits[order])) > params.top_p
        is_beyond[1:] = is_beyond[:-1].copy()
        is_beyond[0] = False
        logits[order[is_beyond]] = -np.inf
    if params.top_k is not None:
        logits[logits < np.sort(logits)[-min(params.top_k, len(logits))]] = -np.inf
    return softmax(logits / temperature)


def draw(probability: np.ndarray, key: int, step: int) -> int:
    noise = exponential(torch.tensor([key]), torch.tensor([step]), len(probability))[0]
    return int((probability / noise.double().numpy()).argmax())


@torch.inference_mode()
def generate_semantic(
    model: LoadedModel,
    text: tuple[int, ...],
    voice: Voice,
    max_tokens: int,
    params: SamplingParams = GREEDY,
) -> list[int]:
    config, gpt = model.config.semantic, model.semantic
    size = config.text_context
    padded_text = np.full(size, config.text_pad_token)
    padded_text[: len(text)] = np.array(text) + config.text_offset
    history = np.full(size, config.pad_token)
    history[: len(voice.semantic[-size:])] = voice.semantic[-size:]
    embed = gpt.transformer.wte
    x = torch.cat(
        [
            embed(torch.tensor(padded_text)) + embed(torch.tensor(history)),
            embed(torch.tensor([config.infer_token])),
        ]
    )
    tokens: list[int] = []
    key = noise_key(params.seed, 0, "semantic")
    duration_s = 0.0
    while len(tokens) < max_tokens:
        logits = gpt.forward_embeddings(x[None])[0, -1, : config.vocab_size + 1].numpy()
        probability = probabilities(logits, params.text_temp, params)
        token = draw(probability, key, len(tokens))
        if token == config.vocab_size:
            break
        if params.min_eos_p is not None and probability[-1] >= params.min_eos_p:
            break
        tokens.append(token)
        duration_s += 1 / config.rate_hz
        if params.max_gen_duration_s is not None and duration_s > params.max_gen_duration_s:
            break
        x = torch.cat([x, embed(torch.tensor([token]))])
    return tokens


@torch.inference_mode()
def generate_coarse(
    model: LoadedModel,
    semantic: list[int],
    voice: Voice,
    params: SamplingParams = GREEDY,
) -> tuple[list[int], list[list[int]]]:
    """The flat coarse tokens, and every window's prefill."""
    config, gpt = model.config.coarse, model.coarse
    ratio = model.config.codec.frame_rate_hz / model.config.semantic.rate_hz * config.num_codebooks
    max_coarse_history = params.max_coarse_history or config.max_history
    window = params.sliding_window_len or config.window
    key = noise_key(params.seed, 0, "coarse")
    max_semantic_history = int(np.floor(max_coarse_history / ratio))
    history, coarse = np.zeros(0, int), np.zeros(0, int)
    if len(voice.semantic):
        coarse = voice.coarse.astype(int).copy()
        coarse[1] += config.codebook_size
        coarse = coarse.T.ravel() + config.codebook_offset
        num_history = min(
            max_semantic_history,
            len(voice.semantic) - len(voice.semantic) % 2,
            int(np.floor(len(coarse) / ratio)),
        )
        history = voice.semantic[-num_history:]
        coarse = coarse[-round(num_history * ratio) :][:-2]
    num_steps = round(float(np.floor(len(semantic) * ratio / 2) * 2))
    joined = np.concatenate([history, semantic]).astype(int)
    num_given, inputs, step = len(coarse), [], 0
    for _ in range(int(np.ceil(num_steps / window))):
        index = len(history) + round(step / ratio)
        part = joined[max(0, index - max_semantic_history) :][: config.semantic_context]
        pad = np.full(config.semantic_context - len(part), config.semantic_pad_token)
        x = np.concatenate([part, pad, [config.infer_token], coarse[-max_coarse_history:]]).astype(int)
        inputs.append(x.tolist())
        for _ in range(min(window, num_steps - step)):
            first = config.codebook_offset + (step % 2) * config.codebook_size
            logits = gpt(torch.tensor(x)[None])[0, -1, first : first + config.codebook_size]
            token = first + draw(probabilities(logits.numpy(), params.waveform_temp, params), key, step)
            x, coarse = np.append(x, token), np.append(coarse, token)
            step += 1
    return coarse[num_given:].tolist(), inputs


@torch.inference_mode()
def generate_fine(
    model: LoadedModel, coarse: list[int], voice: Voice, params: SamplingParams = GREEDY
) -> np.ndarray:
    """The codes [codebooks, frames] of the whole sentence at once, in the reference's overlapping windows."""
    config, given = model.config.fine, model.config.coarse
    codes = (np.array(coarse).reshape(-1, 2) - given.codebook_offset).T
    codes[1] -= given.codebook_size
    num_frames, total, context = codes.shape[1], config.num_codebooks, config.context
    prompt = voice.fine[:, -config.history :]
    num_prompt = prompt.shape[1]
    buffer = np.vstack([codes, np.full((total - 2, num_frames), config.pad_token)])
    buffer = np.hstack([prompt, buffer])
    num_missing = max(0, context - buffer.shape[1])
    buffer = np.hstack([buffer, np.full((total, num_missing), config.pad_token)]).astype(np.int64)
    num_loops = max(0, int(np.ceil((num_frames - (context - num_prompt)) / config.history))) + 1
    for loop in range(num_loops):
        start = min(loop * config.history, buffer.shape[1] - context)
        fill = min(num_prompt + loop * config.history, buffer.shape[1] - config.history)
        for codebook in range(2, total):
            logits = model.fine(codebook, torch.from_numpy(buffer[None, :, start : start + context]))
            key = noise_key(params.seed, 0, "fine", codebook)
            for column, row in enumerate(logits[0, fill - start :, : config.codebook_size].numpy(), fill):
                probability = probabilities(row, params.fine_temp, SamplingParams(seed=0))
                buffer[codebook, column] = draw(probability, key, column - num_prompt)
    return buffer[:, num_prompt : num_prompt + num_frames]
