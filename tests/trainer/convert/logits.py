"""A process of the logits test: Hugging Face's model and ours side by side. Not a test itself.

``python logits.py WORLD RANK PORT DIRECTORY``: in DIRECTORY lie ``<kind>`` (Hugging Face) and ``<kind>-dist``
(converted). The last rank writes ``logits.json``: "kind tp pp ep" -> greatest difference.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path

LAYOUTS = ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2))
"""TP, PP, EP; the last is for mixtures of experts."""


def main(world: int, rank: int, port: str, directory: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(rank), WORLD_SIZE=str(world), RANKDECK_DEVICE="cpu")
    from trainer.runtime import device as devices

    devices.prepare(local_rank=0, threads=1, deterministic=False)
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=300))
    torch.manual_seed(1)
    tokens = torch.randint(0, 256, (2, 24))
    kinds = sorted(path.name.removesuffix("-dist") for path in directory.glob("*-dist"))
    expected = {}
    if rank == world - 1:
        import transformers

        for kind in kinds:
            model = transformers.AutoModelForCausalLM.from_pretrained(directory / kind, dtype=torch.float32).eval()
            with torch.no_grad():
                expected[kind] = model(tokens).logits
    found = {}
    for tp, pp, ep in LAYOUTS:
        for kind in kinds:
            ours = logits(directory, kind, tp, pp, ep, tokens)
            if ours is not None and rank == world - 1:
                found[f"{kind} {tp} {pp} {ep}"] = (ours - expected[kind]).abs().max().item()
        dist.barrier()
    if rank == world - 1:
        (directory / "logits.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def logits(directory: Path, kind: str, tp: int, pp: int, ep: int, tokens):  # type: ignore[no-untyped-def]
    """Of the whole vocabulary, [batch, seq, vocab], on the last stage; None elsewhere, and where there are no experts to deal out."""
    import torch
    import torch.distributed as dist
    from megatron.core import parallel_state, tensor_parallel

    from tests.trainer.spec.test_arithmetic import job
    from trainer.runtime import checkpoint, model

    mixture = json.loads((directory / kind / "config.json").read_text())["model_type"] in ("qwen3_moe", "mixtral")
    if ep > 1 and not mixture:
        return None
    parallel_state.initialize_model_parallel(tensor_model_parallel_size=tp, pipeline_model_parallel_size=pp, expert_model_parallel_size=ep)
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    cut = {"tensor_model_parallel_size": tp, "pipeline_model_parallel_size": pp, "expert_model_parallel_size": ep, "sequence_parallel": mixture and tp > 1}
    spec = job(1, dist.get_world_size(), parallel=cut, train={"iterations": 1, "seq_length": 24}, model={"hf_config": str(directory / kind)})
    from trainer.runtime.start import resolved

    spec = resolved(spec)
    chunk = model.bare(spec, "cpu")[0].eval()
    checkpoint.load_weights([chunk], directory / f"{kind}-dist" / "release")
    positions = torch.arange(tokens.shape[1])[None].expand(tokens.shape[0], -1)
    made = None
    with torch.no_grad():
        if pp == 1:
            made = chunk(tokens, positions, None)
        elif parallel_state.is_pipeline_first_stage():
            dist.send(chunk(tokens, positions, None).contiguous(), parallel_state.get_pipeline_model_parallel_next_rank())
        else:
            hidden = torch.empty(tokens.shape[1], tokens.shape[0], spec.model.hidden_size)
            dist.recv(hidden, parallel_state.get_pipeline_model_parallel_prev_rank())
            chunk.set_input_tensor(hidden)
            made = chunk(tokens, positions, None)
        if made is not None:
            made = tensor_parallel.gather_from_tensor_model_parallel_region(made)
    parallel_state.destroy_model_parallel()
    return made


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
