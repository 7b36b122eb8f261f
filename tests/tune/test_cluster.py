"""The templates under tune/cluster, as far as one machine can run or check them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import tune
from analysis.records import read_sweep
from tune.workers.watchdog import HEAD_TIMEOUT_VARIABLE

TEMPLATES = Path(tune.__path__[0]) / "cluster"
MACHINES = Path(__file__).parent / "slurm" / "machines.sh"
UNSHARE = [
    "unshare",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]
SWEEP = [
    "--space",
    "lora_modules",
    "--profile",
    "tiny",
    "--set",
    "base_model=toy:0.008",
    "--asha",
    "off",
    "--confirm",
    "0",
]


def environment(**more: str) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", **more}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def can_unshare() -> bool:
    if not all(map(shutil.which, ("unshare", "nsenter", "ip", "pgrep"))):
        return False
    bridge = [*UNSHARE, "ip", "link", "add", "bridge", "type", "bridge"]
    return subprocess.run(bridge, capture_output=True, check=False).returncode == 0


@pytest.mark.nightly
@pytest.mark.parametrize(("classic", "n_nodes"), [("", 2), ("1", 3)])
def test_the_slurm_script_runs_a_sweep_on_several_nodes(
    short_folder: Path, tmp_path: Path, classic: str, n_nodes: int
) -> None:
    if not can_unshare():
        pytest.skip("this machine allows no namespaces of its own")
    script = ["bash", str(TEMPLATES / "sweep.sbatch"), *SWEEP, "--trials", "4"]
    machines = [*UNSHARE, str(MACHINES), str(short_folder), str(n_nodes)]
    done = subprocess.run(
        [*machines, *script, "--storage", str(tmp_path), "--name", "s"],
        env=environment(
            SWEEP_CLASSIC=classic,
            SLURM_SUBMIT_DIR=str(tmp_path),
            RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="100",
            **{HEAD_TIMEOUT_VARIABLE: "10"},
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0 and "the leaderboard" in done.stdout, done.stdout
    assert ("symmetric" in done.stdout or "On head node" in done.stdout) is not bool(classic)
    records = read_sweep(tmp_path / "s")
    assert records.count_states() == {"COMPLETE": 4}
    places = {e.place["node"] for t in records.trials for e in t.evals}
    assert places <= {f"node{i}" for i in range(1, n_nodes + 1)}
    assert len(places) > 1, done.stdout


@pytest.mark.nightly
def test_a_slurm_job_that_is_warned_requeues_itself_and_goes_on_by_name(
    short_folder: Path, tmp_path: Path
) -> None:
    if not can_unshare():
        pytest.skip("this machine allows no namespaces of its own")
    script = ["bash", str(TEMPLATES / "sweep.sbatch"), *SWEEP, "--trials", "4", "--no-baseline"]
    # warned as Slurm does with --signal=B:USR1, once there is a result; requeued once it has ended
    slurm = """
        storage=$1; shift
        "$@" & job=$!
        until grep -qs '"eval"' "$storage/sweep-77/evals.jsonl"; do sleep 0.2; done
        kill -USR1 $job; while kill -0 $job; do wait $job; code=$?; done
        echo "the first ended with $code"
        SLURM_RESTART_COUNT=1 "$@"
    """
    machines = [*UNSHARE, str(MACHINES), str(short_folder), "1", "bash", "-c", slurm, "slurm"]
    done = subprocess.run(
        [*machines, str(tmp_path), *script, "--storage", str(tmp_path)],
        env=environment(SLURM_SUBMIT_DIR=str(tmp_path), **{HEAD_TIMEOUT_VARIABLE: "10"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0 and "resumed from" in done.stdout, done.stdout
    assert "paused by SIGUSR1" in done.stdout and "job 77 is requeued" in done.stdout
    assert "the first ended with 138" in done.stdout
    assert read_sweep(tmp_path / "sweep-77").count_states() == {"COMPLETE": 4}


STAND_INS = {  # of what the script calls; the first driver works until it is warned
    "scontrol": 'case $1 in show) echo node1 ;; *) echo "job $2 is $1d" ;; esac',
    "srun": 'while [[ $1 == -* ]]; do shift; done; exec "$@"',
    "ray": """
        [[ $2 == --help ]] && exit 0
        while [[ $1 != -- ]]; do shift; done; shift; exec "$@"
    """,
    "python": """
        echo "$@" >>"$SEEN"
        [[ $* == *--resume* ]] && exit 0
        trap 'kill $!; exit 138' USR1
        sleep 60 >/dev/null & touch "$SEEN.works"
        wait
    """,
}


def test_a_warned_job_is_requeued_and_resumes_by_its_number(tmp_path: Path) -> None:
    """As the nightly test, with stand-ins for Slurm, Ray and the driver."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    seen, storage = tmp_path / "seen", tmp_path / "runs"
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node1", "SLURM_JOB_NUM_NODES": "1"}
    own = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SEEN": str(seen)}
    settings = {**os.environ, **job, **own, "SLURM_SUBMIT_DIR": str(tmp_path)}
    command = ["bash", str(TEMPLATES / "sweep.sbatch"), "--space", "qlora", "--storage", "runs"]

    def start(**more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=tmp_path, env={**settings, **more}, stdout=subprocess.PIPE, text=True
        )

    first = start()
    while not (tmp_path / "seen.works").exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGUSR1)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 138 and "job 77 is requeued" in out
    (storage / "sweep-77").mkdir(parents=True)
    (storage / "sweep-77" / "sweep.json").touch()
    again = start(SLURM_RESTART_COUNT="1")
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0 and "requeued" not in out
    assert seen.read_text().splitlines() == [
        "-m tune.run --space qlora --storage runs --name sweep-77",
        "-m tune.run --resume sweep-77 --storage runs",
    ]
    asked = (TEMPLATES / "sweep.sbatch").read_text()
    assert "#SBATCH --signal=B:USR1@" in asked and "#SBATCH --requeue\n" in asked
    assert not list(tmp_path.glob(".sweep-*"))


@pytest.mark.nightly
def test_the_submitted_job_runs_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PATH", environment()["PATH"])  # the job's `python` is the head's
    head = {
        "num_cpus": 2,
        "include_dashboard": True,
        "dashboard_port": 0,
        "dashboard_agent_listen_port": 0,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        url = "http://" + cluster.head_node.address_info["webui_url"]
        script = [
            str(TEMPLATES / "submit.sh"),
            *SWEEP,
            "--trials",
            "1",
            "--no-baseline",
            "--name",
            "s",
        ]
        done = submit([*script, "--storage", str(tmp_path)], url)
        assert done.returncode == 0 and "the leaderboard" in done.stdout, done.stdout + done.stderr
    finally:
        cluster.shutdown()
    assert read_sweep(tmp_path / "s").count_states() == {"COMPLETE": 1}


def submit(command: list[str], url: str) -> subprocess.CompletedProcess[str]:
    """Again while the new cluster has no agent yet that takes jobs."""
    deadline_s = time.monotonic() + 60
    while True:
        done = subprocess.run(
            command,
            env=environment(RAY_API_SERVER_ADDRESS=url),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if "No available agent" not in done.stderr or time.monotonic() > deadline_s:
            return done
        time.sleep(1)


def test_ray_up_takes_the_machines_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = yaml.safe_load((TEMPLATES / "machines.yaml").read_text())
    config["provider"]["head_ip"] = "127.0.0.1"
    prepared = prepare_config(config)  # as `ray up` does
    validate_config(prepared)  # against Ray's own schema
    assert prepared["max_workers"] == 2 and "local.cluster.node" in prepared["available_node_types"]


def test_the_ray_job_has_the_fields_that_kuberay_knows() -> None:
    """Against a schema of the fields used, written from KubeRay's API reference (ray.io/v1); the
    operator's own is not on the package registry."""
    schema = json.loads((Path(__file__).parent / "rayjob.schema.json").read_text())
    job = yaml.safe_load((TEMPLATES / "rayjob.yaml").read_text())
    jsonschema.validate(job, schema)
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.validate(job, schema)


def test_the_ray_job_s_command_is_a_sweep_that_goes_on(tmp_path: Path) -> None:
    """The entrypoint as a shell reads it: what it gives to tune.run, first and after a death."""
    job = yaml.safe_load((TEMPLATES / "rayjob.yaml").read_text())
    seen = tmp_path / "seen"
    (tmp_path / "python").write_text(f'#!/bin/bash\necho "$@" >>{seen}\nexit 2\n')
    (tmp_path / "python").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(job["spec"]["entrypoint"], shell=True, env={"PATH": path}, check=False)
    first, second = seen.read_text().splitlines()
    storage = "--storage s3://BUCKET/sweeps"
    assert first == f"-m tune.run --space lora_modules --name big {storage}"
    assert second == f"-m tune.run --resume big {storage}"


@pytest.mark.parametrize("name", ["sweep.sbatch", "submit.sh"])
def test_scripts_are_whole(name: str) -> None:
    subprocess.run(["bash", "-n", str(TEMPLATES / name)], check=True)
