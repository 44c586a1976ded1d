"""Converted weights give the logits that transformers gives, at TP1, TP2, PP2 and EP2; the runtime loads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.runtime.started import free_port
from trainer.__main__ import main

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

SHAPE: dict[str, Any] = {
    "vocab_size": 256, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 128, "tie_word_embeddings": False}
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3-tied": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3-moe": ("Qwen3Moe", {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": True}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "glm": ("Glm", {"head_dim": 16, "attention_bias": True, "pad_token_id": 0}),
}


def test_logits_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    pytest.importorskip("megatron.core")
    import torch

    for number, (kind, (family, change)) in enumerate(TINY.items()):
        torch.manual_seed(number)
        model = getattr(transformers, f"{family}ForCausalLM")(getattr(transformers, f"{family}Config")(**{**SHAPE, **change})).float()
        for name, parameter in model.named_parameters():
            if "bias" in name or "norm" in name:
                # As they come they are 0 and 1, which would hide a mixed-up one.
                torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.2)
        model.save_pretrained(tmp_path / kind, max_shard_size="150KB")
        tp, ep = str(1 + number % 2), "2" if "experts" in str(change) else "1"
        words = ["--target-tensor-parallel-size", tp, "--target-expert-parallel-size", ep]
        assert main(["convert", "--load-dir", str(tmp_path / kind), "--save-dir", str(tmp_path / f"{kind}-dist"), "--to", "torch_dist", *words]) == 0
    port = str(free_port("127.0.0.1"))
    script = Path(__file__).with_name("logits.py")
    logs = [tmp_path / f"log{rank}" for rank in range(2)]
    ranks = []
    for rank, log in enumerate(logs):
        with log.open("wb") as stream:
            ranks.append(subprocess.Popen([sys.executable, str(script), "2", str(rank), port, str(tmp_path)], stdout=stream, stderr=subprocess.STDOUT))
    try:
        codes = [rank.wait(600) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0, 0], "\n".join(log.read_text() for log in logs)
    found = json.loads((tmp_path / "logits.json").read_text())
    assert len(found) == 3 * len(TINY) + sum("experts" in str(change) for _, change in TINY.values())
    assert max(found.values()) < 1e-5, found
