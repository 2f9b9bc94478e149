"""Bark's numbers: token ids, rates, windows and sizes of each model, read from a model directory's config.json.

The defaults are Suno's Bark (suno-ai/bark, `bark/generation.py`); the built-in model has smaller ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The size of a transformer; `block_size` is the number of its positions."""

    num_layers: int
    num_heads: int
    width: int
    block_size: int
    input_vocab_size: int
    output_vocab_size: int


@dataclass(frozen=True, slots=True)
class SemanticConfig:
    """Text to semantic tokens. Text and history embeddings are summed position by position."""

    transformer: TransformerConfig
    text_context: int = 256
    """The positions for the text, and for the semantic history that is summed with it."""
    vocab_size: int = 10_000
    """Semantic tokens are 0..vocab_size-1; the output `vocab_size` is the end of the sentence (EOS)."""
    pad_token: int = 10_000
    text_offset: int = 10_048
    text_pad_token: int = 129_595
    infer_token: int = 129_599
    rate_hz: float = 49.9
    max_tokens: int = 768

    @property
    def outputs(self) -> range:
        """The outputs of the transformer that are read."""
        return range(self.vocab_size + 1)


@dataclass(frozen=True, slots=True)
class CoarseConfig:
    """Semantic to coarse tokens, in windows that each start from a fresh prefill."""

    transformer: TransformerConfig
    semantic_context: int = 256
    max_history: int = 630
    """The most coarse tokens of context before a window (Bark's `max_coarse_history`)."""
    window: int = 60
    """The coarse tokens generated per window (Bark's `sliding_window_len`)."""
    dropped_history: int = 2
    """The coarse tokens that are cut off at the end of a voice's history; Bark drops a frame of it."""
    num_codebooks: int = 2
    codebook_size: int = 1024
    codebook_offset: int = 10_000
    """Codebook n's code c is the token `codebook_offset + n * codebook_size + c`."""
    semantic_pad_token: int = 12_048
    infer_token: int = 12_050

    @property
    def outputs(self) -> range:
        """The outputs of the transformer that are read: in Bark a sixth of all."""
        return range(self.codebook_offset, self.codebook_offset + self.num_codebooks * self.codebook_size)


@dataclass(frozen=True, slots=True)
class FineConfig:
    """Coarse to fine codes, not causal, over `context` frames of which `history` were fixed before."""

    transformer: TransformerConfig
    context: int = 1024
    history: int = 512
    num_codebooks: int = 8
    num_codebooks_given: int = 1
    """`n_codes_given` of the checkpoint: heads exist for codebooks given..num_codebooks-1."""
    codebook_size: int = 1024
    pad_token: int = 1024
    chunk_frames: tuple[int, ...] = (8, 24, 72, 216, 512)
    """The sizes, in frames, of the successive chunks of an utterance's first sentence; the last repeats."""
    later_chunk_frames: tuple[int, ...] = (128, 512)
    """The same for its other sentences, which are generated while earlier ones are played."""
    last_chunk_frames: int = 0
    """The size of a sentence's last chunk, or a little more, if what is left is more than twice as long: so little is
    left to do once the last coarse code is there. 0: the last chunk is whatever is left."""
    joined_frames: int = 0
    """A sentence's rest of at most so many frames behind a chunk joins it, where there is room beside the history."""
    is_whole: bool = False
    """Whether a sentence is filled in once it is finished, in the original's own windows, instead of in chunks."""
    is_padded: bool = True
    """Whether a window that has fewer frames than `context` is filled up with pads, as Bark's are."""

    @property
    def outputs(self) -> range:
        """The outputs of the transformer that are read."""
        return range(self.codebook_size)


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """The EnCodec decoder (facebookresearch/encodec, SEANet) and its residual vector quantizer."""

    sample_rate_hz: int = 24_000
    num_codebooks: int = 8
    codebook_size: int = 1024
    dimension: int = 128
    num_filters: int = 32
    ratios: tuple[int, ...] = (8, 5, 4, 2)
    num_residual_layers: int = 1
    num_lstm_layers: int = 2
    kernel_size: int = 7
    residual_kernel_size: int = 3
    last_kernel_size: int = 7
    dilation_base: int = 2
    compress: int = 2

    @property
    def hop_samples(self) -> int:
        """The number of samples per frame of codes."""
        return math.prod(self.ratios)

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop_samples


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """How text becomes tokens: BERT word pieces (`wordpiece`) or a lexicon's phonemes (`phonemes`)."""

    kind: str = "wordpiece"
    file: str = "tokenizer.json"
    """A file's name in the model directory: a `tokenizers` JSON, or a gzipped lexicon of `word TAB phones` lines."""
    symbols: tuple[str, ...] = ()
    """The phonemes of `phonemes`: symbol n has the token n."""


@dataclass(frozen=True, slots=True)
class PathConfig:
    """How semantic tokens name the phones of the text, for a model whose tokens do; its sentences are kept to the text.

    Token t says phone `t // tokens_per_phone`. `sounds` tells what the tokenizer's symbols sound like: phones with
    spaces between, each of them with its variants (`t|ɾ`), a `?` behind those that may be left out, and `*` for any
    phone that is no silence (letters of a word that nobody knows how to say). A symbol that is not there is not heard.
    """

    phones: tuple[str, ...]
    """The names of the phones, in the order of their tokens; names have no spaces and none of `|?*`."""
    silences: tuple[str, ...]
    """Those phones that are pauses."""
    sounds: dict[str, str]
    tokens_per_phone: int = 1
    beginning: str = ""
    """The sounds before the first symbol, written as in `sounds`."""
    ending: str = ""
    """The sounds behind the last symbol."""
    reach: int = 1
    """How many phones further the next token may be; with 1 no phone is skipped."""
    max_phone_tokens: int = 12
    """How long a phone is held, in tokens; then the next one must come."""
    max_silence_tokens: int = 20
    max_last_silence_tokens: int | None = None
    """The same of a pause that ends a sentence, of which next to nothing is kept; None: the same number."""
    max_tokens_of: dict[str, int] = field(default_factory=dict)
    """The same of single phones, by name, where it is another number."""
    max_letter_tokens: int = 3
    """The same of each letter (`*`) but the last of a word."""


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """The sampling parameters that a model uses unless a client asks for others; the defaults are Bark's."""

    text_temp: float = 0.7
    waveform_temp: float = 0.7
    fine_temp: float = 0.5
    min_eos_p: float = 0.2


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The config of a whole model, as `config.json` in a model directory of ours holds it."""

    name: str
    semantic: SemanticConfig
    coarse: CoarseConfig
    fine: FineConfig
    codec: CodecConfig = field(default_factory=CodecConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    default_voice: str | None = None
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    note: str | None = None
    """A remark about this model, shown on the player's page."""
    path: PathConfig | None = None
    """What keeps the semantic tokens to the text; None for a model whose tokens name no phones, as Bark's."""
    max_piece_tokens: int = 0
    """The most text tokens of a sentence that the model speaks well: longer ones are cut. 0: as many as fit."""
    normalize_text: bool = False
    """Whether numbers and abbreviations are written out before the text is tokenized; Bark reads them itself."""

    @property
    def coarse_per_semantic(self) -> float:
        """The coarse tokens per semantic token (3.006 in Bark): frame rate / semantic rate * codebooks."""
        return self.codec.frame_rate_hz / self.semantic.rate_hz * self.coarse.num_codebooks


def suno_config(name: str, *, num_layers: int, num_heads: int, width: int) -> ModelConfig:
    """Return the config of one of Suno's released models, whose three transformers have one size."""

    def transformer(input_vocab_size: int, output_vocab_size: int) -> TransformerConfig:
        return TransformerConfig(num_layers, num_heads, width, 1024, input_vocab_size, output_vocab_size)

    return ModelConfig(
        name=name,
        semantic=SemanticConfig(transformer(129_600, 10_048)),
        coarse=CoarseConfig(transformer(12_096, 12_096)),
        fine=FineConfig(transformer(1056, 1056)),
        default_voice="v2/en_speaker_6",
        languages=("en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh"),
        tags=("[laughter]", "[laughs]", "[sighs]", "[music]", "[gasps]", "[clears throat]"),
    )


SMALL = suno_config("bark-small", num_layers=12, num_heads=12, width=768)
LARGE = suno_config("bark", num_layers=24, num_heads=16, width=1024)
