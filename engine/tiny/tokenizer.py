"""A small byte-fallback BPE tokenizer of the class LTX-2.3 uses for its Gemma-3 text encoder.

Merges are learned from captions only, never from character names, so a name of the pretraining roster and a
trigger word invented by a user are both split into a few pieces and are equally new to the encoder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import GemmaTokenizer

VOCAB_SIZE = 768
_SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
_BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'-▁"


def build_tokenizer(captions: Iterable[str]) -> GemmaTokenizer:
    """Train a tokenizer of at most `VOCAB_SIZE` entries on `captions`.

    Words are merged with the space before them ("▁word"); merges never cross a space. Every character that is
    not in the vocabulary falls back to its UTF-8 bytes, so no text becomes `<unk>`.
    """
    bpe = Tokenizer(models.BPE(unk_token=_SPECIAL_TOKENS[3], byte_fallback=True))
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.pre_tokenizer = pre_tokenizers.Split(pattern="▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[*_SPECIAL_TOKENS, *_BYTE_TOKENS],
        initial_alphabet=list(_LETTERS),
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    return _as_gemma(bpe)


def _as_gemma(bpe: Tokenizer) -> GemmaTokenizer:
    model = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    tokenizer = GemmaTokenizer(vocab=model["vocab"], merges=merges, add_bos_token=True)
    tokenizer.padding_side = "left"
    return tokenizer
