"""Conversion there and back, bit for bit, in every layout; what is not whole is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main
from trainer.convert import hf_config, names
from trainer.spec import families
from trainer.spec.job import Model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from trainer.convert import dist, safetensors, sidecar, torchfile, weights  # noqa: E402
from trainer.data.refusal import DataError  # noqa: E402

MODELS = {
    "llama": Model(num_query_groups=2, ffn_hidden_size=96),
    "llama-tied": Model(num_query_groups=2, ffn_hidden_size=96, untie_embeddings_and_output_weights=False),
    "qwen2": Model(num_query_groups=2, ffn_hidden_size=96, add_qkv_bias=True),
    "qwen3-tied": Model(num_query_groups=2, ffn_hidden_size=96, qk_layernorm=True, kv_channels=32, untie_embeddings_and_output_weights=False),
    "glm": Model(num_query_groups=2, ffn_hidden_size=96, add_qkv_bias=True, rotary_percent=0.5, rotary_interleaved=True),
    "qwen3-moe": Model(num_query_groups=2, ffn_hidden_size=96, qk_layernorm=True, kv_channels=32, num_experts=4, moe_ffn_hidden_size=48),
    "mixtral": Model(num_query_groups=2, ffn_hidden_size=48, moe_ffn_hidden_size=48, num_experts=4, moe_router_topk=1),
}


def random_hf(directory: Path, model: Model, *, files: int = 1, dtype: Any = torch.float32) -> dict[str, Any]:
    """Weights of a model as Hugging Face lays them out."""
    directory.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=generator).to(dtype)
        for entry in names.entries(model) for name, shape in zip(entry.hf, entry.hf_shapes, strict=True)}
    placed: dict[str, str] = {}
    for number in range(files):
        own = list(tensors)[number::files]
        file = "model.safetensors" if files == 1 else f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        with safetensors.Writer(directory / file, [(name, dtype, tuple(tensors[name].shape)) for name in own]) as writer:
            for name in own:
                writer.put(name, tensors[name])
        placed.update(dict.fromkeys(own, file))
    if files > 1:
        (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    (directory / "config.json").write_text(json.dumps(hf_config.to_hf(model, dtype="float32")))
    return tensors


def read_hf(directory: Path) -> dict[str, Any]:
    return {name: safetensors.read(info) for file in directory.glob("*.safetensors") for name, info in safetensors.contents(file).items()}


def convert(source: Path, out: Path, to: str, *words: object) -> int:
    return main(["convert", "--load-dir", str(source), "--save-dir", str(out), "--to", to, *map(str, words)])


def cut(tp: int, pp: int, ep: int = 1) -> tuple[object, ...]:
    return "--target-tensor-parallel-size", tp, "--target-pipeline-parallel-size", pp, "--target-expert-parallel-size", ep


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return set(found) == set(expected) and all(found[name].dtype == one.dtype and torch.equal(found[name], one) for name, one in expected.items())


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("to", ["torch_dist", "torch"])
def test_there_and_back_bit_for_bit_in_every_layout(kind: str, to: str, tmp_path: Path) -> None:
    expected = random_hf(tmp_path / "hf", MODELS[kind], files=3)
    before = tmp_path / "hf"
    # Each from the one before: resharding from every layout to the next.
    dealt = {(1, 1): 2, (1, 2): 4, (2, 2): 2} if MODELS[kind].num_experts else {}
    for tp, pp in ((1, 1), (2, 1), (1, 2), (2, 2)):
        out, ep = tmp_path / f"{tp}{pp}", dealt.get((tp, pp), 1)
        assert convert(before, out, to, *cut(tp, pp, ep)) == 0
        if to == "torch":
            assert len(list((out / "release").glob("mp_rank_*"))) == tp * pp * ep
        before = out
    assert convert(before, tmp_path / "back", "hf", "--max-shard-size", "100KB") == 0
    assert same(read_hf(tmp_path / "back"), expected)
    assert families.from_hf(json.loads((tmp_path / "back" / "config.json").read_text()), Model()) == families.from_hf(json.loads((tmp_path / "hf" / "config.json").read_text()), Model())
    assert weights.open_source(tmp_path / "back").layout["tensor_model_parallel_size"] == 1, "index and files fit together"


def test_from_one_kind_of_checkpoint_to_the_other(tmp_path: Path) -> None:
    expected = random_hf(tmp_path / "hf", MODELS["qwen2"], dtype=torch.bfloat16)
    assert convert(tmp_path / "hf", tmp_path / "a", "torch", *cut(2, 2), "--make-vocab-size-divisible-by", 100) == 0
    assert convert(tmp_path / "a", tmp_path / "b", "torch_dist") == 0
    assert dist.Reader(tmp_path / "b" / "release").shape("embedding.word_embeddings.weight") == (256, 64)
    assert convert(tmp_path / "b", tmp_path / "c", "hf") == 0
    assert same(read_hf(tmp_path / "c"), expected)


def test_a_rank_of_the_older_kind_has_its_own_part(tmp_path: Path) -> None:
    model = MODELS["llama-tied"]
    tensors = random_hf(tmp_path / "hf", model)
    assert convert(tmp_path / "hf", tmp_path / "m", "torch", *cut(2, 2), "--make-vocab-size-divisible-by", 100) == 0
    first, last = (torch.load(tmp_path / "m" / "release" / f"mp_rank_01_{stage:03d}" / "model_optim_rng.pt", weights_only=False)["model"] for stage in (0, 1))
    q, k, v = (tensors[f"model.layers.1.self_attn.{one}_proj.weight"] for one in "qkv")
    # 2 groups of 2 queries of 16: rank 1 has the second group.
    assert torch.equal(last["decoder.layers.0.self_attention.linear_qkv.weight"], torch.cat([q[32:], k[16:], v[16:]]))
    gate, up = (tensors[f"model.layers.0.mlp.{one}_proj.weight"] for one in ("gate", "up"))
    assert torch.equal(first["decoder.layers.0.mlp.linear_fc1.weight"], torch.cat([gate[48:], up[48:]]))
    embedding = tensors["model.embed_tokens.weight"]
    for part in (first["embedding.word_embeddings.weight"], last["output_layer.weight"]):
        assert part.shape == (200, 64) and torch.equal(part[:56], embedding[200:]) and not part[56:].any()


def test_another_type_and_a_source_without_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = random_hf(tmp_path / "hf", MODELS["llama"])
    assert convert(tmp_path / "hf", tmp_path / "m", "torch_dist", "--dtype", "bf16") == 0
    (tmp_path / "m" / "release" / sidecar.NAME).unlink()
    assert convert(tmp_path / "m", tmp_path / "back", "hf") == 3
    assert "Say --hf-config DIR or --job JOB.JSON" in capsys.readouterr().err
    assert convert(tmp_path / "m", tmp_path / "back", "hf", "--hf-config", tmp_path / "hf", "--json") == 0
    assert same(read_hf(tmp_path / "back"), {name: one.to(torch.bfloat16) for name, one in expected.items()})
    assert json.loads((tmp_path / "back" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    note = sidecar.read(tmp_path / "back")
    assert (note["format"], note["dtype"], note["made_from"], note["model"]["num_query_groups"]) == ("hf", "bfloat16", str(tmp_path / "m"), 2)


def test_tokenizer_files_go_along(tmp_path: Path) -> None:
    random_hf(tmp_path / "hf", MODELS["llama"])
    (tmp_path / "hf" / "tokenizer.json").write_text("{}")
    assert convert(tmp_path / "hf", tmp_path / "m", "torch_dist") == 0
    assert convert(tmp_path / "m", tmp_path / "back", "hf", "--hf-config", tmp_path / "hf") == 0
    assert (tmp_path / "back" / "tokenizer.json").is_file()


def damaged(directory: Path, how: str) -> str:
    """Damage a directory of three files; what must be told."""
    index = directory / "model.safetensors.index.json"
    mapped = json.loads(index.read_text())
    second = directory / "model-00002-of-00003.safetensors"
    if how == "file missing":
        second.unlink()
        return f"file {second.name} is missing"
    if how == "file empty":
        second.write_bytes(b"")
        return f"file {second.name} is empty"
    if how == "file cut":
        second.write_bytes(second.read_bytes()[:-4])
        return "this is no whole safetensors file"
    if how == "file extra":
        (directory / "model-00004-of-00004.safetensors").write_bytes(b"x")
        return "file model-00004-of-00004.safetensors is not in the index"
    if how == "not in the index":
        del mapped["weight_map"]["model.norm.weight"]
        told = "model.norm.weight is in .*, but not in the index"
    elif how == "in another file":
        mapped["weight_map"]["model.norm.weight"] = next(file for file in set(mapped["weight_map"].values()) if file != mapped["weight_map"]["model.norm.weight"])
        told = "model.norm.weight is not in .*, where the index has it"
    else:
        config = json.loads((directory / "config.json").read_text())
        change, told = {
            "layer missing": ({"num_hidden_layers": 3}, "model.layers.2.input_layernorm.weight is missing"),
            "layer extra": ({"num_hidden_layers": 1}, "model.layers.1.* belongs to no part of the model"),
            "other shape": ({"intermediate_size": 97}, r"down_proj.weight has shape \[64, 96\], config.json says \[64, 97\]"),
            "unknown": ({"model_type": "gpt2"}, "'gpt2' is not one of"),
        }[how]
        (directory / "config.json").write_text(json.dumps({**config, **change}))
    index.write_text(json.dumps(mapped))
    return told


@pytest.mark.parametrize("how", ["file missing", "file empty", "file cut", "file extra", "not in the index", "in another file", "layer missing", "layer extra", "other shape", "unknown"])
def test_weights_that_are_not_whole_are_refused(how: str, tmp_path: Path) -> None:
    random_hf(tmp_path / "hf", MODELS["llama"], files=3)
    told = damaged(tmp_path / "hf", how)
    with pytest.raises(DataError, match=told):
        weights.open_source(tmp_path / "hf")


def test_sizes_that_do_not_go_up_are_refused_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_hf(tmp_path / "hf", MODELS["llama"])
    for words, told in ((cut(4, 1), "2 groups of heads do not go up in 4"), (cut(1, 3), "2 layers do not go up in 3"), (cut(1, 1, 2), "a dense model has no experts")):
        assert convert(tmp_path / "hf", tmp_path / "m", "torch_dist", *words) == 3
        assert told in capsys.readouterr().err
        assert not (tmp_path / "m").exists()
    assert convert(tmp_path / "hf", tmp_path / "m", "torch_dist", "--dry-run") == 0
    assert not (tmp_path / "m").exists()
    assert convert(tmp_path / "hf", tmp_path / "m", "torch_dist") == 0
    assert convert(tmp_path / "hf", tmp_path / "m", "torch_dist") == 3
    assert "the output is there already" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    random_hf(tmp_path / "hf", MODELS["llama"])
    assert convert(tmp_path / "hf", tmp_path / "d", "torch_dist", *cut(2, 1)) == 0
    assert convert(tmp_path / "hf", tmp_path / "t", "torch", *cut(2, 1)) == 0
    file = tmp_path / "d" / "release" / "__1_0.distcp"
    file.write_bytes(file.read_bytes()[:-2000])
    assert convert(tmp_path / "d", tmp_path / "x", "hf") == 3
    assert not list(tmp_path.glob("*x*")), "nothing is left"
    (tmp_path / "t" / "release" / "mp_rank_00" / "model_optim_rng.pt").unlink()
    with pytest.raises(DataError, match=r"files of ranks are missing.*mp_rank_00_000"):
        weights.open_source(tmp_path / "t")


def test_nothing_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "run").touch, ())

    torch.save({"args": Bomb(), "model": {"w": torch.arange(6.0).reshape(2, 3).t()}}, tmp_path / "f.pt")
    found = torchfile.tree(lambda: (tmp_path / "f.pt").open("rb"), where="f.pt")
    assert torch.equal(found["model"]["w"].read(), torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    import pickle

    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".metadata").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="metadata cannot be read"):
        dist.Reader(tmp_path / "d")
    assert not (tmp_path / "run").exists()


def test_adapters_are_added(tmp_path: Path) -> None:
    from trainer.convert.lora import Merged

    model = MODELS["llama"]
    tensors = random_hf(tmp_path / "hf", model)
    writing = dist._Writing(tmp_path, 1)
    a, b = torch.randn(2, 3, 64), torch.randn(2, 64, 3)
    with writing:
        for key, one in (("adapter_a", a), ("adapter_b", b)):
            writing.tensor(f"decoder.layers.self_attention.linear_proj.{key}", tuple(one.shape), (0, 0, 0), one, 0)
    import pickle

    (tmp_path / ".metadata").write_bytes(pickle.dumps(writing.metadata()))
    merged = Merged(weights.open_source(tmp_path / "hf"), tmp_path, alpha=6.0)
    assert merged.adapted == 2
    weights.convert(merged, weights.Target(out=tmp_path / "out", format="hf"), made_from="x")
    found = read_hf(tmp_path / "out")
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn.o_proj.weight"
        assert torch.allclose(found.pop(name), tensors.pop(name) + 2.0 * b[layer] @ a[layer], atol=1e-6)
    assert same(found, tensors)


def test_names_cover_the_model_once() -> None:
    for model in MODELS.values():
        seen = [name for entry in names.entries(model) for name in entry.hf]
        assert len(seen) == len(set(seen))
        assert families.from_hf(hf_config.to_hf(model, dtype="float32"), Model()).num_query_groups == 2
    assert [list(stage) for stage in names.stages(Model(num_layers=5, num_layer_list="2,3"), 2)] == [[0, 1], [2, 3, 4]]
    with pytest.raises(ValueError, match="no model_type has a mixture of experts without"):
        hf_config.to_hf(Model(num_experts=4, add_qkv_bias=True), dtype="float32")


def test_no_more_than_a_shard_and_a_half_is_held(tmp_path: Path) -> None:
    model = Model(num_layers=16, hidden_size=256, ffn_hidden_size=1024, num_attention_heads=8, vocab_size=8192)
    random_hf(tmp_path / "hf", model, files=2)
    # The older kind is written a rank at a time, so there a rank's file is the shard; with TP 2 it is as great.
    largest = max(file.stat().st_size for file in (tmp_path / "hf").glob("*.safetensors"))
    run = (
        "import resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch; from trainer.convert import dist, weights; from trainer.__main__ import main\n"
        "torch.save(torch.ones(3), sys.argv[2] + '/warm')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "for source, out, kind in (('hf', 'd', 'torch_dist'), ('d', 't', 'torch'), ('t', 'back', 'hf')):\n"
        "    words = ['--target-tensor-parallel-size', '2'] if kind != 'hf' else []\n"
        "    assert main(['convert', '--load-dir', f'{sys.argv[2]}/{source}', '--save-dir', f'{sys.argv[2]}/{out}', '--to', kind, *words]) == 0\n"
        "    print(peak() - before)")
    result = subprocess.run([sys.executable, "-c", run, str(Path(__file__).resolve().parents[3]), str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    held = [int(line) / largest for line in result.stdout.splitlines() if line.isdigit()]
    assert len(held) == 3 and max(held) < 1.5, held


def test_a_runs_checkpoint_is_exported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.trainer.spec.test_arithmetic import job
    from trainer.convert.export import export_checkpoint
    from trainer.runtime.errors import TrainerError
    from trainer.spec.job import to_mapping

    expected = random_hf(tmp_path / "hf", MODELS["qwen3-tied"])
    assert convert(tmp_path / "hf", tmp_path / "ck", "torch_dist", *cut(2, 1)) == 0
    (tmp_path / "ck" / "release" / sidecar.NAME).unlink()
    spec = job(1, 1, model={"hf_config": str(tmp_path / "hf")}, checkpoint={"dir": str(tmp_path / "ck")}, export={"dir": str(tmp_path / "out")})
    (tmp_path / "job.json").write_text(json.dumps(to_mapping(spec)))
    assert main(["export", "--job", str(tmp_path / "job.json")]) == 0
    assert same(read_hf(tmp_path / "out"), expected)
    assert export_checkpoint(spec, tmp_path / "ck", tmp_path / "out") is None, "the same again"
    assert convert(tmp_path / "hf", tmp_path / "other", "torch_dist") == 0
    with pytest.raises(TrainerError, match="the output is there already"):
        export_checkpoint(spec, tmp_path / "other", tmp_path / "out")
    with pytest.raises(TrainerError, match="there are no weights"):
        export_checkpoint(spec, tmp_path / "nothing", tmp_path / "out")
