"""Saves of every format, whole and damaged in each way that a dying job or a full disk damages them."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from agent.parse import checkpoint, pickled
from trainer.spec import manifest


class Thing:
    """Stands for any class that the reader must not need."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def torch_save(value: Any) -> bytes:
    """What torch.save writes since 1.6, as far as a reader sees: a zip, stored, data.pkl within."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/data/0", b"\x01" * 200)
    return whole.getvalue()


def safetensors(bytes_of_data: int) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [bytes_of_data], "data_offsets": [0, bytes_of_data]}, "__metadata__": {"format": "pt"}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\x02" * bytes_of_data


def dcp(shards: int = 4, size: int = 90) -> Dict[str, bytes]:
    storage = {Thing(i=at): Thing(relative_path="__%d_0.distcp" % at, offset=10, length=size - 10) for at in range(shards)}
    files = {"__%d_0.distcp" % at: b"d" * size for at in range(shards)}
    files[".metadata"] = pickle.dumps(Thing(state_dict_metadata={}, storage_data=storage), protocol=2)
    return files


def megatron_dcp(tp: int = 2, pp: int = 2) -> Dict[str, bytes]:
    args = Thing(tensor_model_parallel_size=tp, pipeline_model_parallel_size=pp, world_size=8, expert_model_parallel_size=1)
    return dict(dcp(), **{"common.pt": torch_save({"args": args, "iteration": 10}), "metadata.json": b'{"sharded_backend": "torch_dist"}'})


def legacy(tp: int = 2, pp: int = 2, said: Optional[int] = None, optimizer: bool = True) -> Dict[str, bytes]:
    args = Thing(tensor_model_parallel_size=tp, pipeline_model_parallel_size=said or pp, world_size=16)
    files = {}
    for t in range(tp):
        for p in range(pp):
            name = "mp_rank_%02d_%03d" % (t, p) if pp > 1 else "mp_rank_%02d" % t
            files[name + "/model_optim_rng.pt"] = torch_save({"args": args, "iteration": 10})
            if optimizer:
                files[name + "/distrib_optim.pt"] = torch_save({})
    return files


def at(root: str, files: Dict[str, bytes]) -> Dict[str, bytes]:
    return {root + "/" + name: data for name, data in files.items()}


def survey(files: Dict[str, bytes], folders: List[str] = [], name: str = "ckpt", **more: Any) -> Dict[str, Any]:  # noqa: B006
    clock = iter(range(1000, 100000))
    found = checkpoint.survey({path: (len(data), float(next(clock))) for path, data in files.items()},
                              lambda path, start, length: files[path][start:start + length], folders, name, **more)
    json.dumps(found, allow_nan=False)
    return found


def one(files: Dict[str, bytes], **more: Any) -> Dict[str, Any]:
    rows = survey(files, **more)["iterations"]
    assert len(rows) == 1, rows
    row: Dict[str, Any] = rows[0]
    return row


HF = {"config.json": b"{}", "model.safetensors.index.json": json.dumps({"weight_map": {
    "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).encode(),
    "model-00001-of-00002.safetensors": safetensors(50), "model-00002-of-00002.safetensors": safetensors(60)}
TRAINER = dict(HF, **{"trainer_state.json": b'{"global_step": 100}', "optimizer.pt": torch_save({}), "scheduler.pt": torch_save({}),
                      "rng_state_0.pth": torch_save({})})
DEEPSPEED = {"mp_rank_%02d_model_states.pt" % part: torch_save({}) for part in range(2)}
DEEPSPEED.update({"zero_pp_rank_%d_mp_rank_%02d_optim_states.pt" % (rank, part): torch_save({}) for rank in range(3) for part in range(2)})


def hyperpod_auto(step: int = 40, tp: int = 1, fsdp: int = 2) -> Dict[str, bytes]:
    files: Dict[str, bytes] = {}
    for t in range(tp):
        for f in range(fsdp):
            files.update(at("tp%d_ep0_fsdp%d" % (t, f), dict(dcp(1), **{".local.metadata": torch_save({"step": step})})))
    return files


def hyperpod_manual() -> Dict[str, bytes]:
    return dict(at("tp0_ep0", dcp(2)), **at("tp1_ep0", dcp(2)))


def verl(world: int = 4) -> Dict[str, bytes]:
    files = {"actor/%s_world_size_%d_rank_%d.pt" % (kind, world, rank): torch_save({}) for rank in range(world) for kind in ("model", "optim", "extra_state")}
    return dict(files, **{"actor/huggingface/config.json": b"{}", "data.pt": torch_save({})})


def zarr() -> Dict[str, bytes]:
    own = {name: data for name, data in megatron_dcp().items() if name in ("common.pt", "metadata.json")}
    return dict(own, **{"%s/%s" % (name, part): b"{}" for name in ("model.embedding.weight", "optimizer.state") for part in (".zarray", "0.0")})


def parted() -> Dict[str, bytes]:
    args = Thing(tensor_model_parallel_size=2, pipeline_model_parallel_size=2, world_size=8)
    files = {"mp_rank_%02d_%03d/model_rng.pt" % (t, p): torch_save({"args": args}) for t in range(2) for p in range(2)}
    return dict(files, **{"mp_rank_%02d_%03d_%03d/optim.pt" % (t, p, d): torch_save({}) for t in range(2) for p in range(2) for d in range(2)})


SELF = dict(dcp(), **{".metadata": pickle.dumps(Thing(state_dict_metadata={"checkpoint_version": 3, "args": 1}, storage_data={
    Thing(i=at): Thing(relative_path="__%d_0.distcp" % at, offset=10, length=80) for at in range(4)}), protocol=2)})
WHOLE = {
    "legacy, the optimizer in parts": (at("iter_0000010", parted()), "legacy", 10, {"tp": 2, "pp": 2, "world_size": 8}, True),
    "torch_dcp": (at("iter_0000010", SELF), "torch_dist", 10, {}, True),
    "zarr": (at("iter_0000010", zarr()), "zarr", 10, {"tp": 2, "pp": 2}, True),
    "torchtitan": (at("step-500", dcp()), "torch_dist", 500, {}, True),
    "verl": (at("global_step_20", verl()), "verl", 20, {"world_size": 4}, True),
    "verl on megatron": (at("global_step_20", dict(at("actor/dist_ckpt", megatron_dcp()))), "verl", 20, {}, True),
    "nemo 1": (at("megatron_gpt--val_loss=2.50-step=500-consumed_samples=9728.0", megatron_dcp()), "torch_dist", 500, {"tp": 2}, True),
    "nemo": (at("m--val_loss=2.50-step=18-consumed_samples=9728.0-last", at("weights", megatron_dcp())), "torch_dist", 19, {"tp": 2}, True),
    "legacy": (at("iter_0000010", legacy()), "legacy", 10, {"tp": 2, "pp": 2, "world_size": 16}, True),
    "legacy, one stage": (at("iter_0000010", legacy(pp=1, optimizer=False)), "legacy", 10, {"tp": 2, "pp": 1}, True),
    "torch_dist": (at("iter_0000010", megatron_dcp()), "torch_dist", 10, {"tp": 2, "pp": 2, "world_size": 8}, True),
    "release": (at("release", legacy()), "legacy", None, {"tp": 2, "pp": 2}, False),
    "hf weights": (HF, "hf", None, {}, False),
    "hf trainer": (at("checkpoint-100", TRAINER), "hf", 100, {}, True),
    "hf trainer on deepspeed": (at("checkpoint-100", dict(HF, **dict({"trainer_state.json": b'{"global_step": 100}', "latest": b"global_step100"},
                                                                     **at("global_step100", DEEPSPEED)))), "hf", 100, {}, True),
    "lora": (at("checkpoint-7", {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors(9), "optimizer.pt": torch_save({}),
                                 "trainer_state.json": b'{"global_step": 7}'}), "hf", 7, {}, True),
    "deepspeed": (at("global_step33", DEEPSPEED), "deepspeed", 33, {"tp": 2}, True),
    "hyperpod auto": (at("checkpoints/local/0", hyperpod_auto()), "hyperpod-auto", 40, {"tp": 1, "ep": 1, "fsdp": 2}, True),
    "hyperpod manual": (at("checkpoints/sharded/step_20", hyperpod_manual()), "hyperpod-manual", 20, {"tp": 2, "ep": 1}, True),
    "hyperpod manual by loss": (at("sharded/loss_0.12345", hyperpod_manual()), "hyperpod-manual", None, {"tp": 2}, True),
    "hyperpod peft": (at("peft_sharded/step_20", hyperpod_manual()), "hyperpod-manual", 20, {"tp": 2}, True),
    "hyperpod full": (at("full/steps_20", {"config.json": b"{}", "pytorch_model.bin": torch_save({})}), "hyperpod-full", 20, {}, False),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_save(name: str) -> None:
    files, format, iteration, layout, resumable = WHOLE[name]
    row = one(files)
    assert (row["complete"], row["format"], row["iteration"], row["resumable"]) == (True, format, iteration, resumable), row["why"]
    assert {key: row["layout"][key] for key in layout} == layout
    assert row["bytes"] == sum(map(len, files.values())) and row["files"] == len(files) and row["seconds"] == len(files) - 1
    assert survey(files)["resume_from"] == (iteration if resumable else None)


@pytest.mark.parametrize("name", WHOLE)
def test_an_iterations_own_directory_may_be_asked_about(name: str) -> None:
    files, format, iteration, _, _ = WHOLE[name]
    row = one(files)
    if row["path"]:
        inside = {path[len(row["path"]) + 1:]: data for path, data in files.items()}
        again = one(inside, name=row["path"].rpartition("/")[2])
        assert (again["complete"], again["format"], again["iteration"]) == (True, format, iteration), again["why"]


@pytest.mark.parametrize("name", WHOLE)
def test_every_file_that_is_gone_empty_or_cut_is_noticed(name: str) -> None:
    files = WHOLE[name][0]
    # Without these a folder is still what it says, or is a smaller one of its kind.
    spared = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "latest", ".index.json", "huggingface/config.json", "data.pt")
    for path in files:
        for how, change in (("gone", None), ("empty", b""), ("cut", files[path][:-1])):
            damaged = {other: data for other, data in files.items() if other != path}
            if change is not None:
                damaged[path] = change
            if (how == "gone" and path.endswith(spared)) or path.endswith("/latest") or (how == "cut" and path.endswith("/0.0")):
                continue
            rows = survey(damaged)["iterations"]
            assert not rows or not any(row["complete"] for row in rows) or _a_smaller_grid(name, path, how), (path, how, rows)
            assert all(row["why"] for row in rows)


def _a_smaller_grid(name: str, path: str, how: str) -> bool:
    """The last rank's only file gone leaves a save that is whole for what it shows; only others beside it tell."""
    return how == "gone" and name in ("deepspeed", "hf trainer on deepspeed") and path.endswith(("mp_rank_01_model_states.pt", "rank_2_mp_rank_01_optim_states.pt"))


def test_ranks_that_are_missing_at_the_end_are_told_by_the_arguments_or_by_the_other_saves() -> None:
    assert "1 of 2 rank directories missing: mp_rank_00_001" not in one(at("iter_0000010", legacy(tp=2, pp=3)))["why"]
    row = one(at("iter_0000010", legacy(tp=2, pp=3, said=4)))
    assert not row["complete"] and row["why"].startswith("2 of 8 rank directories missing: mp_rank_00_003, mp_rank_01_003")
    both = dict(at("local/0", hyperpod_auto(40, fsdp=4)), **at("local/1", hyperpod_auto(50, fsdp=3)))
    rows = {row["iteration"]: row for row in survey(both)["iterations"]}
    assert rows[40]["complete"] and not rows[50]["complete"] and "fewer ranks" in rows[50]["why"]


@pytest.mark.parametrize("files, said", [
    (at("tmp-checkpoint-100", TRAINER), "its name says"),
    (dict(at("m-step=18-last", at("weights", megatron_dcp())), **{"m-step=18-last-unfinished": b""}), "its mark says")])
def test_a_save_that_says_itself_that_it_is_not_finished(files: Dict[str, bytes], said: str) -> None:
    row = one(files)
    assert not row["complete"] and row["why"].startswith(said), row


def test_hyperpod_slots_of_different_steps_are_not_one_save() -> None:
    files = at("local/0", hyperpod_auto(40))
    files["local/0/tp0_ep0_fsdp1/.local.metadata"] = torch_save({"step": 30})
    row = one(files)
    assert not row["complete"] and row["why"] == "shards of different steps: 30, 40"


def test_rank_directories_with_different_files_or_holes() -> None:
    files = at("iter_0000010", legacy())
    del files["iter_0000010/mp_rank_01_000/distrib_optim.pt"]
    assert one(files)["why"] == "mp_rank_01_000 has no distrib_optim.pt, others have"
    files = at("iter_0000010", legacy())
    for path in [path for path in files if "mp_rank_00_000" in path]:
        del files[path]
    assert one(files)["why"] == "1 of 4 rank directories missing: mp_rank_00_000"


def test_a_shard_shorter_than_the_table_says() -> None:
    files = at("iter_0000010", megatron_dcp())
    files["iter_0000010/__2_0.distcp"] = b"d" * 40
    assert one(files)["why"] == "1 of 4 shards are cut off: __2_0.distcp has 40 bytes, .metadata speaks of 90"


OTHER = b"another library's way to write tensors"


@pytest.mark.parametrize("name", WHOLE)
def test_files_of_an_unknown_kind_are_named_and_not_condemned(name: str) -> None:
    files = {path: OTHER if path.endswith((".pt", ".pth", ".bin", ".safetensors", "/.metadata")) else data for path, data in WHOLE[name][0].items()}
    row = one(files)
    assert row["complete"] and "of an unknown kind" in row["why"], row["why"]
    for path in (path for path in files if files[path] == OTHER):
        for wrong in (b"", b"\0" * 500):
            assert not any(row["complete"] for row in survey(dict(files, **{path: wrong}))["iterations"]), (path, wrong)


@pytest.mark.parametrize("gone", ["__1_0.distcp", "__0_0.distcp", "__1_1.distcp __1_0.distcp"])
def test_a_gap_in_the_shards_is_seen_without_a_table(gone: str) -> None:
    files = dict(megatron_dcp(), **{"__%d_%d.distcp" % (rank, part): b"d" for rank in range(3) for part in range(2)}, **{".metadata": OTHER})
    row = one(at("iter_0000010", {path: data for path, data in files.items() if path not in gone.split()}))
    assert not row["complete"] and "shards missing: " + gone.split()[-1] in row["why"]


TRACKER = manifest.TRACKER_NAME


@pytest.mark.parametrize(("text", "state", "resume", "said"), [
    (b"20", "ok", 20, ""), (b"20\n", "ok", 20, ""), (b"10", "ok", 10, ""), (b"30", "ok", 20, "names iteration 30, which is not complete"),
    (b"40", "ok", 20, "names iteration 40, which is not there"), (b"", "torn", 20, "torn"), (b"2\x00\x00", "torn", 20, "torn"),
    (None, "missing", 20, "no tracker"), (b"release", "release", 20, "")])
def test_the_tracker_of_vendor_saves(text: Optional[bytes], state: str, resume: int, said: str) -> None:
    files = dict(at("iter_0000010", legacy()), **at("iter_0000020", legacy()))
    files.update(at("iter_0000030", {name: data[:100] for name, data in legacy().items()}))
    if text is not None:
        files[TRACKER] = text
    found = survey(files, ["iter_0000050"])
    assert (found["tracker_state"], found["resume_from"]) == (state, resume)
    assert said in "; ".join(found["problems"]) and bool(said) == bool(found["problems"])
    assert [(row["iteration"], row["complete"]) for row in found["iterations"]] == [(10, True), (20, text != b"10"), (30, False), (50, False)]


def test_with_a_manifest_beside_it_a_save_without_one_is_not_complete() -> None:
    files = at("iter_0000010", megatron_dcp())
    files["iter_0000010/" + manifest.MANIFEST_NAME] = json.dumps(manifest.build(
        [(name, len(data)) for name, data in megatron_dcp().items()], 10, {"world_size": 8, "tensor_model_parallel_size": 2})).encode()
    found = survey(dict(files, **at("iter_0000020", megatron_dcp()), **{TRACKER: b"20"}), free_bytes=100)
    assert [(row["complete"], row["why"]) for row in found["iterations"]] == [(True, "all 7 files as in the manifest"),
                                                                             (False, "no readable manifest")]
    assert found["iterations"][0]["layout"]["tp"] == 2
    assert found["resume_from"] == 10 and found["next_save"]["fits"] is False
    assert found["problems"] == ["the tracker names iteration 20, which is not complete: no readable manifest",
                                 "go on from 10: set the tracker to it, or Megatron will try 20"]


def test_reading_a_pickle_runs_nothing_and_survives_anything() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("run",))

    found = pickled.read(pickle.dumps({"x": Evil(), "n": 3}))
    assert found["n"] == 3 and isinstance(found["x"], pickled.Shape)
    whole = pickle.dumps(Thing(a=[Thing(b={1, 2})], c=("x", None)))
    for cut in range(len(whole)):
        assert pickled.read(whole[:cut]) is None
        pickled.read(whole[:cut] + b"\xff" + whole[cut + 1:])


@pytest.mark.parametrize(("files", "name"), [
    ({**legacy(), "mp_rank_999999_999999/model_optim_rng.pt": b""}, "iter_0000010"), ({"tp0_ep0_fsdp99999999/.metadata": b"x"}, "iter_0000010"),
    ({**dcp(), ".metadata": b"{sealed}", "__999999_9999.distcp": b"x"}, "iter_0000010"), ({"mp_rank_99999999_model_states.pt": b"x"}, "global_step10"),
    ({"mp_rank_00_model_states.pt": b"x", "zero_pp_rank_99999999_mp_rank_00_optim_states.pt": b"x"}, "global_step10"),
    ({"actor/model_world_size_999999_rank_0.pt": b"x"}, "global_step_10")])
def test_a_number_that_is_no_ranks_asks_for_no_list_of_all_before_it(files: Dict[str, bytes], name: str) -> None:
    tracemalloc.start()
    try:
        row = one(at(name, files))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert not row["complete"] and "a number in a name is too large" in row["why"]


@pytest.mark.parametrize("files", [
    at("iter_0000010", {**megatron_dcp(), "rankdeck-manifest.json": b"[" * 200_000}), at("iter_0000010", {**zarr(), "a.b/.zarray": b"[" * 200_000}),
    {"model.safetensors.index.json": b"[" * 200_000, "model-00001-of-00001.safetensors": safetensors(8)},
    {"config.json": b"{}", "model.safetensors": struct.pack("<Q", 200_005) + b'{"a":' + b"[" * 200_000}])
def test_json_that_is_nested_without_end_is_no_json(files: Dict[str, bytes]) -> None:
    assert not one(files)["complete"]


def test_nothing_and_foreign_files() -> None:
    assert survey({})["iterations"] == []
    assert survey({"readme.md": b"x", "logs/a.log": b"y"})["iterations"] == []
    row = one(at("iter_0000003", {"notes.txt": b"x"}))
    assert (row["complete"], row["format"]) == (False, "unknown")


@pytest.mark.torch
def test_what_torch_itself_writes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch.distributed import checkpoint as torch_checkpoint

    from agent import checkpoints

    folder = tmp_path / "iter_0000010"
    torch_checkpoint.save({"w": torch.ones(1000), "b": torch.zeros(7), "step": 3}, checkpoint_id=str(folder), no_dist=True)
    args = argparse.Namespace(tensor_model_parallel_size=4, pipeline_model_parallel_size=2, world_size=16)
    torch.save({"args": args, "iteration": 10, "w": torch.ones(5)}, str(folder / "common.pt"))
    (folder / "metadata.json").write_text("{}")
    (row,) = checkpoints.scan(str(tmp_path))["iterations"]
    assert row["complete"] and (row["layout"]["tp"], row["layout"]["pp"], row["layout"]["world_size"]) == (4, 2, 16), row["why"]
    (shard,) = folder.glob("*.distcp")
    shard.write_bytes(shard.read_bytes()[:-100])
    (row,) = checkpoints.scan(str(tmp_path))["iterations"]
    assert "cut off" in row["why"]
