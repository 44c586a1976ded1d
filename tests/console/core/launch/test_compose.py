"""Jobs out of several files: who wins, what ${...} becomes, and every mistake at its place."""

from __future__ import annotations

import pytest

from console.core.errors import FileError
from console.core.launch.compose import ComposedJob, Part, compose_job
from console.core.launch.document import parse
from console.core.launch.problems import Problem, ProblemsError

BASE = """
run: {name: base, seed: 1}
paths: {work: /w}
fleet: {nodes: [n0, n1], npus_per_node: 2}
train: {iterations: 60}
checkpoint: {dir: "${paths.work}/ckpt", interval: 10}
"""


class Shelf:
    """A Library of texts."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name.replace("_", "/", 1) if name.startswith(("hardware", "recipe")) else f"{name}.yaml": text for name, text in texts.items()}

    def part(self, name: str) -> Part:
        if name not in self.texts:
            raise FileError("cannot read the file", got="No such file or directory", fix="Check the path")
        value, problems = parse(self.texts[name], name)
        return Part(identity=name, value=value, problems=tuple(problems))

    def file(self, name: str, beside: str) -> Part:
        return self.part(name)

    def shipped(self, group: str, name: str) -> Part:
        return self.part(f"{group}/{name}")


def compose(text: str, **texts: str) -> ComposedJob:
    shelf = Shelf(job=text, **texts)
    return compose_job(shelf.part("job.yaml"), shelf)


def problems(text: str, **texts: str) -> list[Problem]:
    with pytest.raises(ProblemsError) as raised:
        compose(text, **texts)
    return list(raised.value.problems)


def places(text: str, **texts: str) -> list[str]:
    return [f"{problem.where} {problem.message}" for problem in problems(text, **texts)]


def test_a_file_alone() -> None:
    job = compose(BASE)
    assert job.spec.checkpoint.dir == "/w/ckpt" and job.spec.run.seed == 1
    assert job.locate(("train", "iterations")) == "job.yaml:5:21"
    assert job.locate(("train", "global_batch_size")) == "job.yaml:5:1"


def test_own_values_win_without_self() -> None:
    job = compose("defaults: [base.yaml]\nrun: {name: mine}\ntrain: {iterations: 3}", base=BASE)
    assert (job.spec.run.name, job.spec.run.seed, job.spec.train.iterations) == ("mine", 1, 3)
    assert job.locate(("run", "seed")).startswith("base.yaml:2:") and job.locate(("run", "name")).startswith("job.yaml:2:")
    assert job.identities == ("job.yaml", "base.yaml")


def test_later_entries_win() -> None:
    over = "run: {seed: 7}\nfleet: {nodes: [n9]}"
    assert compose("defaults: [base.yaml, over.yaml]", base=BASE, over=over).spec.run.seed == 7
    assert compose("defaults: [over.yaml, base.yaml]", base=BASE, over=over).spec.run.seed == 1
    assert compose("defaults: [base.yaml, over.yaml]", base=BASE, over=over).spec.fleet.nodes == ("n9",)


def test_self_first_lets_the_includes_win() -> None:
    job = compose("defaults: [_self_, base.yaml]\nrun: {name: mine, mode: retrain}", base=BASE)
    assert (job.spec.run.name, job.spec.run.mode) == ("base", "retrain")


def test_included_files_include() -> None:
    job = compose("defaults: [middle.yaml]", middle="defaults: [base.yaml]\nrun: {name: middle}", base=BASE)
    assert job.spec.run.name == "middle"


def test_hardware_profiles() -> None:
    job = compose("defaults: [base.yaml, hardware: a3]\n", base=BASE, hardware_a3="fleet: {npus_per_node: 16}")
    assert job.spec.fleet.npus_per_node == 16 and job.spec.fleet.nodes == ("n0", "n1")


def test_interpolation() -> None:
    job = compose(BASE + "runner: {entry: \"${.workdir}/x.py\", workdir: \"${paths.work}\", args: [\"--n=${train.iterations}\", '\\${HOME} $(id) $x']}\n"
                  "env: {A: \"${env.B}\", B: \"${run.seed}\"}")
    assert job.spec.runner.entry == "/w/x.py" and job.spec.runner.args == ("--n=60", "${HOME} $(id) $x")
    assert job.spec.env == {"A": "1", "B": "1"}


def test_numbers_stay_numbers() -> None:
    assert compose(BASE + "recovery: {in_place: \"${run.seed}\"}").spec.recovery.in_place == 1


def test_a_block_can_be_taken_whole() -> None:
    job = compose(BASE + "env: \"${paths}\"\n")
    assert job.spec.env == {"work": "/w"} and job.locate(("env", "work")) == "job.yaml:7:1"


def test_environment_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "ops")
    assert compose(BASE + "env: {WHO: \"${oc.env:WHO}\", X: \"${oc.env:NOT_THERE,none}\"}").spec.env == {"WHO": "ops", "X": "none"}


def test_references_that_lead_nowhere() -> None:
    found = places(BASE + """env:
  A: "${paths.wrok}"
  B: "${env.B}"
  C: "${env.D}"
  D: "${env.C}"
  E: "${"
  F: "${nope:x}"
  G: "${oc.env:SURELY_NOT_SET}"
  H: "${env}"
""")
    text = "\n".join(found)
    assert "job.yaml:8:6 'paths.wrok' does not stand in this job" in text
    assert all(f"job.yaml:{line}:6 this value refers to itself" in text for line in (9, 10, 11, 15))
    assert "job.yaml:12:6 the ${...} in this text cannot be read" in text
    assert "job.yaml:13:6 there is no resolver 'nope'" in text
    assert "job.yaml:14:6 environment variable 'SURELY_NOT_SET' is not set here" in text
    assert len(found) == 8


def test_a_bad_reference_in_an_included_file_is_found_there() -> None:
    assert places("defaults: [base.yaml]", base=BASE.replace("paths.work", "pahts.work")) == [
        "base.yaml:6:19 'pahts.work' does not stand in this job"]


def test_what_is_left_to_be_filled_in() -> None:
    assert places("defaults: [base.yaml]", base=BASE.replace("name: base", "name: '???'")) == ["base.yaml:2:13 run.name is left to be filled in"]
    assert compose("defaults: [base.yaml]\nrun: {name: x}", base=BASE.replace("name: base", "name: '???'")).spec.run.name == "x"


def test_shape_mistakes_all_at_once() -> None:
    found = problems(BASE.replace("seed: 1", "seed: one, nmae: x").replace("train: {iterations: 60}", "train: {micro_batch_size: 1}") + "modle: {}\n")
    text = "\n".join(f"{p.where} {p.message} | {p.got} | {p.expected} | {p.fix}" for p in found)
    assert "job.yaml:2:25 run.seed is not what it should be | 'one' | a whole number" in text
    assert "job.yaml:2:30 unknown key 'nmae' in run |  |  | Did you mean 'name'?" in text
    assert "job.yaml:5:1 train: key 'iterations' is missing" in text
    assert "job.yaml:7:1 unknown key 'modle' |  |  | Did you mean 'model'?" in text
    assert len(found) == 4


def test_circles_are_reported_with_their_way() -> None:
    found = places("defaults: [a.yaml]", a="defaults: [b.yaml]\n" + BASE, b="defaults: [a.yaml]")
    assert found == ["b.yaml:1:12 files include each other in a circle: a.yaml -> b.yaml -> a.yaml"]
    assert "job.yaml -> job.yaml" in places("defaults: [job.yaml]\n" + BASE)[0]


def test_doubling_includes_do_not_explode() -> None:
    texts = {f"f{n}": f"defaults: [f{n + 1}.yaml, f{n + 1}.yaml]" for n in range(30)}
    assert any("more than" in place for place in places("defaults: [f0.yaml]", **texts, f30=BASE))


@pytest.mark.parametrize(("defaults", "place", "what"), [
    ("[nope.yaml]", "job.yaml:1:12", "cannot read the file"),
    ("[hardware: nope]", "job.yaml:1:12", "cannot read the file"),
    ("[hardwear: x]", "job.yaml:1:12", "no group"),
    ("[hardware: [x]]", "job.yaml:1:12", "no group"),
    ("[3]", "job.yaml:1:12", "not an entry"),
    ("base.yaml", "job.yaml:1:11", "defaults is a list"),
    ("[_self_, _self_]", "job.yaml:1:20", "stands twice"),
    ("[list.yaml]", "list.yaml:1:1", "block of keys"),
    ("[broken.yaml]", "broken.yaml:1:5", "not valid YAML"),
])
def test_defaults_that_cannot_be_followed(defaults: str, place: str, what: str) -> None:
    found = problems(f"defaults: {defaults}\n{BASE}", list="[1]", broken="a: b: c")
    assert len(found) == 1 and found[0].where == place and what in found[0].message


def test_a_job_that_is_no_block() -> None:
    assert "a job file is a block of keys" in places("[1]")[0]


def test_a_key_twice_is_not_passed_over() -> None:
    assert places(BASE + "run: {name: again}\n") == ["job.yaml:7:1 key 'run' stands twice in this block"]
