"""Steps before training in real containers: run alone, before a launch, and with what they need missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hosts.rig.engines import DEVICES
from tests.hosts.site import Site

pytestmark = pytest.mark.ssh

PYTHON = """#!/bin/bash
# The vendor's tools, as far as a step can tell.
echo "python $1 in $PWD with $(ls -d /dev/davinci[0-9]* 2>/dev/null | wc -l) devices"
printf 'given:'; printf ' %s' "$@"; echo
while [ $# -gt 0 ]; do [ "$1" = --output-prefix ] && to=$2; shift; done
[ -e "$INPUT" ] || { echo "no such input" >&2; exit 3; }
for kind in attention_mask input_ids labels; do for ending in bin idx; do echo x > "${to}_packed_${kind}_document.$ending"; done; done
"""


def job(site: Site, name: str, **data: Any) -> Path:
    """A fine-tuning job whose data is not prepared yet."""
    (site.work / "bin").mkdir(exist_ok=True)
    (site.work / "bin" / "python").write_text(PYTHON)
    (site.work / "bin" / "python").chmod(0o755)
    (site.work / "code" / "ModelLink").mkdir(parents=True, exist_ok=True)
    (site.work / "raw.json").write_text("[]")
    site.names.add(f"rankdeck-{name}--preprocess")
    return site.job(name, run={"mode": "sft"}, train={"seq_length": 4096}, runner={"workdir": str(site.work / "code"), "setup": [f"export PATH={site.work}/bin:$PATH"]},
                    data={"prefix": str(site.work / "alpaca"), "input": str(site.work / "raw.json"), **data}, checkpoint={"load_dir": str(site.work)},
                    env={"INPUT": data.get("input", str(site.work / "raw.json"))})


def test_a_step_runs_in_a_container_of_its_own_and_leaves_nothing(site: Site) -> None:
    path = job(site, "stepped")
    status, document, err = site.run("run-step", str(path), "preprocess", "--node", "n2")
    assert status == 0 and document["ok"], err
    assert f"n2: python ./tools/preprocess_data.py in {site.work}/code/ModelLink with {DEVICES} devices" in err
    assert (f"n2: given: ./tools/preprocess_data.py --input {site.work}/raw.json --tokenizer-name-or-path {site.work} --output-prefix {site.work}/alpaca --workers 8 "
            "--log-interval 1000 --tokenizer-type PretrainedFromHF --handler-name GeneralInstructionHandler --make-vocab-size-divisible-by 128 --seq-length 4096") in err
    assert [(one["node"], one["state"]) for one in document["nodes"]] == [("n2", "done")] and all(Path(made).is_file() for made in document["makes"])
    site.wait_clean()
    status, _, err = site.run("run-step", str(path), "preprocess")
    assert status == 0 and "there already" in err
    site.wait_clean()


def test_a_step_that_fails_leaves_nothing_and_is_not_launched_after(site: Site) -> None:
    path = job(site, "unstepped", prepare=True, input=str(site.work / "nothing.json"))
    status, document, err = site.launch(path)
    assert status == 1 and "unstepped--preprocess failed" in document["error"]["what"] and "no such input" in document["error"]["got"], err
    site.wait_clean()
    # Mended, the same command launches.
    (site.work / "nothing.json").write_text("[]")
    status, document, err = site.launch(path, "--wait")
    assert status == 0 and document["result"]["status"] == "finished", err
    site.wait_clean()
