"""``python -m trainer bench``: tokens/s of the trainer's step and of a plain PyTorch GPT of the same shape.

Both train in this process, turn by turn, so that what else the machine does falls on both; every pair of
turns gives a ratio, and the median of the ratios is what counts. On a CPU the processor time of the turns
gives a second ratio: on a busy machine it is the steadier one. The plain model has the same layers
(RMSNorm, rotary positions, torch's attention, gated SiLU), the same AdamW (fused where the trainer's is) and
gradient clipping, and nothing of Megatron; where the trainer computes in bf16 over fp32 parameters, it does
too (autocast). ``--compiled`` has a third one train, the plain model through torch.compile. ``--peak-tflops``
is what a device can do at most, for the share of it that each reaches (MFU).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from trainer.runtime import device as devices
from trainer.runtime.train import process_group
from trainer.spec import parallel
from trainer.spec.job import from_mapping

SHAPES: dict[str, dict[str, int]] = {
    "5M": {"num_layers": 6, "hidden_size": 256, "ffn_hidden_size": 704, "num_attention_heads": 8, "vocab_size": 512},
    "124M": {"num_layers": 12, "hidden_size": 768, "ffn_hidden_size": 2048, "num_attention_heads": 12, "vocab_size": 25600},
    "0.6M": {"num_layers": 4, "hidden_size": 128, "ffn_hidden_size": 256, "num_attention_heads": 4, "vocab_size": 256},
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("--shape", choices=sorted(SHAPES), default="5M", help="parameters (default 5M)")
    for name, default, told in (
        ("--seq-length", 256, "tokens of a sequence"), ("--batch-size", 4, "sequences of a step"),
        ("--turns", 24, "steps of each that are measured"), ("--threads", 2, "CPU threads within one operation")):
        parser.add_argument(name, type=_count, default=default, metavar="N", help=f"{told} (default {default})")
    parser.add_argument("--compiled", action="store_true", help="also against the plain model through torch.compile")
    parser.add_argument("--peak-tflops", type=float, default=0.0, metavar="N", help="the most that the device does a second in this precision, for MFU")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{word} is less than 1")
    return value


def command(given: argparse.Namespace) -> int:
    """Print the figures; 0."""
    spec = from_mapping({
        "run": {"name": "bench", "deterministic": False}, "paths": {"work": "."}, "fleet": {"nodes": ["here"], "npus_per_node": 1},
        "model": SHAPES[given.shape], "checkpoint": {"dir": "."},
        "train": {"iterations": 1000, "global_batch_size": given.batch_size, "micro_batch_size": given.batch_size, "seq_length": given.seq_length, "threads": given.threads},
    })
    ready = devices.prepare(local_rank=0, threads=given.threads, deterministic=False)
    with process_group(spec, ready):
        told = compare(spec, ready.name, given.turns, compiled=given.compiled)
    told["device"], told["threads"] = ready.name, given.threads
    whose = {"trainer": "trainer", "plain": "plain PyTorch", **({"compiled": "torch.compile"} if given.compiled else {})}
    if given.peak_tflops:
        flops = parallel.flops_per_sample(spec.model, spec.train.seq_length) / spec.train.seq_length
        told |= {f"{one}_mfu": told[f"{one}_tokens_per_s"] * flops / (given.peak_tflops * 1e12) for one in whose}
    if given.json:
        print(json.dumps(told))
    else:
        print(
            f"{told['parameters'] / 1e6:.2f}M parameters, sequences of {given.seq_length} x {given.batch_size}, {ready.name}, {given.threads} threads, {given.turns} turns each")
        for one, name in whose.items():
            print(f"{name:14} {told[f'{one}_tokens_per_s']:10.0f} tokens/s" + (f", {told[f'{one}_mfu']:.1%} MFU" if given.peak_tflops else ""))
        for name, what in (("ratio", "by the clock"), ("cpu_ratio", "by processor time"), ("compiled_ratio", "by the clock, torch.compile")):
            if name in told:
                low, median, high = told[name]
                print(f"ratio          {median:10.3f} ({low:.3f} to {high:.3f}) {what}: median and quartiles of the turns")
    return 0


def compare(spec: Any, device: str, turns: int, *, compiled: bool = False) -> dict[str, Any]:
    """tokens/s of all, their seconds, and the ratios (first quartile, median, third); the first turn of each is left out."""
    import torch

    from trainer.runtime import batches, model
    from trainer.runtime.step import Step

    modules, optimizer = model.wrap(spec, model.bare(spec, device), device)
    source = _Fixed(spec)
    step = Step(spec, device, source, modules, optimizer)
    mixed = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=model.half(spec, device))

    def of_trainer(turn: int) -> None:
        step(turn + 1, turn * spec.train.global_batch_size, judge=lambda loss, norm: "")

    def turn_of(compiling: bool) -> Callable[[int], None]:
        plain = _plain(spec).to(device)
        adam = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.01, fused=torch.device(device).type in model.FUSED)
        called = torch.compile(plain) if compiling else plain

        def turn(number: int) -> None:
            first = number * spec.train.global_batch_size
            made = batches.collate([source.sample(first + n) for n in range(spec.train.global_batch_size)], device)
            with mixed:
                loss = torch.nn.functional.cross_entropy(called(made["tokens"]).flatten(0, 1), made["labels"].flatten())
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            adam.step()
            loss.item()

        return turn

    of_plain = turn_of(False)
    all_of = [of_trainer, of_plain, *([turn_of(True)] if compiled else [])]
    seconds: dict[Any, list[tuple[float, float]]] = {one: [] for one in all_of}
    for turn in range(turns + 1):
        for one in all_of if turn % 2 else all_of[::-1]:
            began, busy = time.perf_counter(), time.process_time()
            one(turn)
            seconds[one].append((time.perf_counter() - began, time.process_time() - busy))
    tokens = spec.train.global_batch_size * spec.train.seq_length
    (ours, our_cpu), (theirs, their_cpu) = (list(zip(*seconds[one][1:], strict=True)) for one in (of_trainer, of_plain))
    told = {
        "parameters": parallel.parameter_count(spec.model),
        "trainer_tokens_per_s": tokens / statistics.median(ours),
        "plain_tokens_per_s": tokens / statistics.median(theirs),
        "trainer_s": ours, "plain_s": theirs, "ratio": _ratio(theirs, ours),
    }
    if compiled:
        through = [clock for clock, _ in seconds[all_of[2]][1:]]
        told.update({"compiled_s": through, "compiled_tokens_per_s": tokens / statistics.median(through), "compiled_ratio": _ratio(through, ours)})
    if device == "cpu":
        told.update({"trainer_cpu_s": our_cpu, "plain_cpu_s": their_cpu, "cpu_ratio": _ratio(their_cpu, our_cpu)})
    return told


def _ratio(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    found = [one / other for one, other in zip(over, under, strict=True)]
    return tuple(statistics.quantiles(found, n=4, method="inclusive")) if len(found) > 1 else (found[0],) * 3


class _Fixed:
    """Random tokens made beforehand: making samples is not what is measured."""

    def __init__(self, spec: Any) -> None:
        import torch

        from trainer.runtime import batches

        rows = torch.randint(0, spec.model.vocab_size, (8, spec.train.seq_length + 1), generator=torch.Generator().manual_seed(1))
        self._samples = [batches.shifted(row) for row in rows]

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, number: int) -> Any:
        return self._samples[number % len(self._samples)]


def _plain(spec: Any) -> Any:
    import torch
    import torch.nn.functional as functional
    from torch import nn

    shape = spec.model
    hidden, heads = shape.hidden_size, shape.num_attention_heads
    width = hidden // heads

    def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        one, two = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-two, one), dim=-1) * sin

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.RMSNorm(hidden, eps=1e-5), nn.RMSNorm(hidden, eps=1e-5)
            self.qkv, self.out = nn.Linear(hidden, 3 * hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
            self.up, self.down = nn.Linear(hidden, 2 * shape.ffn_hidden_size, bias=False), nn.Linear(shape.ffn_hidden_size, hidden, bias=False)

        def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
            batch, length, _ = x.shape
            q, k, v = self.qkv(self.before(x)).view(batch, length, 3, heads, width).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).reshape(batch, length, hidden))
            gate, up = self.up(self.between(x)).chunk(2, dim=-1)
            return x + self.down(functional.silu(gate) * up)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(shape.vocab_size, hidden)
            self.layers = nn.ModuleList(Layer() for _ in range(shape.num_layers))
            self.norm, self.head = nn.RMSNorm(hidden, eps=1e-5), nn.Linear(hidden, shape.vocab_size, bias=False)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            places = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)
            angles = torch.outer(places, shape.rotary_base ** (-torch.arange(0, width, 2, device=tokens.device) / width))
            angles = torch.cat((angles, angles), dim=-1)
            x = self.embedding(tokens)
            for layer in self.layers:
                x = layer(x, angles.cos(), angles.sin())
            return self.head(self.norm(x))  # type: ignore[no-any-return]

    return Plain()
