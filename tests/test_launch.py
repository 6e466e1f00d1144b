"""launch/: the commands of a dry run, one-line errors, restarts and the kept workdir.

There is no cloud here: a stand-in for gcloud notes what it is asked and answers from a list.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / "launch" / "tpu_vm.sh"
GOOD = ("--name=digits", "--zone=us-west4-a", "--type=v5litepod-4")
JOB = ("--", "--config=configs/quickstart.py", "--config.data.path=a b")

GCLOUD = """#!/usr/bin/env bash
# Notes the command; `run` and `describe` answer with the first line left of their files.
printf '%s\\n' "$*" >> "$FAKE/log"
take() { head -n 1 "$FAKE/$1"; sed -i 1d "$FAKE/$1"; }
case "$*" in
*"tpu-vm scp /"*) cp "$5" "$FAKE/packed.tar.gz" ;;
*"on_vm.sh run"*) exit "$(take codes)" ;;
*describe*) take states ;;
esac
"""


def launch(
    *flags: str, env: dict[str, str] | None = None, script: pathlib.Path = LAUNCH
) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", script, *flags], capture_output=True, text=True, env=env, timeout=60
    )


def test_help_tells_all_options():
    done = launch("--help")
    assert done.returncode == 0
    for option in ("--name=", "--zone=", "--type=", "--spot", "--store=", "--dry-run"):
        assert option in done.stdout
    assert "NOT RUN" in done.stdout
    assert "set -euo" not in done.stdout


def test_dry_run_prints_the_commands_in_order():
    done = launch(*GOOD, "--spot", "--project=p", "--dry-run", *JOB)
    assert (done.returncode, done.stderr) == (0, "")
    create, copy, install, run, fetch, delete = done.stdout.splitlines()
    tpu = "gcloud compute tpus tpu-vm"
    where = "--zone=us-west4-a --project=p"
    assert create == (
        f"{tpu} create digits {where} --accelerator-type=v5litepod-4 --spot"
        " --version=v2-alpha-tpuv5-lite"
    )
    assert copy.endswith(f"digits:maskgit_prompt.tar.gz {where} --worker=all")
    assert "on_vm.sh\\ install" in install
    assert "on_vm.sh\\ run\\ runs/digits\\ 12\\ " in run
    assert "--config=configs/quickstart.py" in run
    assert (
        fetch == f"{tpu} scp --recurse digits:maskgit_prompt/runs/digits runs/ {where} --worker=0"
    )
    assert delete == f"{tpu} delete digits {where} --quiet"


def test_the_job_gets_its_flags_as_they_were_written():
    # The shell that pastes the line, then the shell on the machine: two rounds of unquoting.
    done = launch(*GOOD, "--dry-run", *JOB)
    line = next(line for line in done.stdout.splitlines() if "on_vm.sh\\ run" in line)
    script = (
        f'gcloud() {{ c="${{!#}}"; bash() {{ printf "%s|" "$@"; }}; eval "${{c#*=}}"; }}; {line}'
    )
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == (
        "maskgit_prompt/launch/on_vm.sh|run|runs/digits|12||"
        "|--config=configs/quickstart.py|--config.data.path=a b|"
    )


def test_dry_run_of_a_queue_deletes_the_queued_resource():
    done = launch(*GOOD, "--queue=6h", "--dry-run", *JOB)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("gcloud compute tpus queued-resources create digits")
    assert "--node-id=digits" in lines[0] and "--valid-until-duration=6h" in lines[0]
    assert "--runtime-version=v2-alpha-tpuv5-lite" in lines[0]
    assert "queued-resources describe digits" in lines[1]
    assert lines[-1].endswith("queued-resources delete digits --zone=us-west4-a --force --quiet")


def test_several_hosts_join_one_job_in_a_shared_workdir():
    flags = ("--name=digits", "--zone=us-west4-a", "--type=v5litepod-16")
    done = launch(*flags, "--shared", "--workdir=/mnt/runs/digits", "--dry-run", *JOB)
    assert "run\\ /mnt/runs/digits\\ 12\\ \\'\\'\\ auto\\ --config" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--name=: expected lower-case letters"),
        (("--name=Digits",), "--name=Digits: expected lower-case letters"),
        (("--name=a", "--zone=west"), "--zone=west: expected a zone such as us-west4-a"),
        ((*GOOD, "--type=v7x-8"), "--type=v7x-8: expected a type such as v2-8"),
        ((*GOOD, "--type=v4-32"), "--type=v4-32 has several hosts"),
        ((*GOOD, "--shared", "--workdir=runs/a"), "--shared needs --workdir=/PATH"),
        ((*GOOD, "--shared", "--workdir=/a", "--store=gs://b/c.tar.gz"), "--store and --shared"),
        ((*GOOD, "--store=gs://b"), "--store=gs://b: expected a file such as"),
        ((*GOOD, "--hours=0"), "--hours=0: expected a whole number of hours"),
        ((*GOOD, "--queue=soon"), "--queue=soon: expected a time such as 6h"),
        ((*GOOD, "--preemptible"), "unknown option --preemptible; see --help"),
        (GOOD, "no --config=FILE after --"),
        ((*GOOD, *JOB, "--workdir=x"), "--workdir=x after --: use the launcher's own --workdir"),
    ],
)
def test_wrong_use_is_one_line(flags, message):
    done = launch(*flags, "--dry-run") if "--" not in flags else launch(*flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def run_with_fake(tmp_path, codes: str, states: str, *flags: str):
    """The launcher against the stand-in: (finished process, commands by their first words)."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "gcloud").write_text(GCLOUD)
    (fake / "gcloud").chmod(0o755)
    (fake / "codes").write_text(codes)
    (fake / "states").write_text(states)
    env = {**os.environ, "FAKE": str(fake), "PATH": f"{fake}:{os.environ['PATH']}"}
    home = tmp_path / "checkout"
    shutil.copytree(ROOT / "launch", home / "launch", dirs_exist_ok=True)
    script = home / "launch" / "tpu_vm.sh"
    done = launch(*GOOD, *flags, *JOB, env={**env, "POLL_SECONDS": "0"}, script=script)
    verbs = []
    for line in (fake / "log").read_text().splitlines():
        words = line.removeprefix("compute tpus ").split()
        verbs.append("run" if "on_vm.sh run" in line else words[1])
    return done, verbs


START = ["create", "scp", "ssh"]


def test_a_preempted_machine_is_made_again(tmp_path):
    done, verbs = run_with_fake(tmp_path, "143\n0\n", "PREEMPTED\n")
    assert done.returncode == 0
    assert "preempted (code 143), start 1 of 20" in done.stderr
    assert verbs == [*START, "run", "describe", "delete", *START, "run", "scp", "delete"]


def test_a_lost_connection_to_a_machine_that_is_gone_is_a_preemption(tmp_path):
    done, verbs = run_with_fake(tmp_path, "255\n0\n", "TERMINATED\n")
    assert done.returncode == 0
    assert verbs == [*START, "run", "describe", "delete", *START, "run", "scp", "delete"]


def test_a_stopped_job_on_a_living_machine_goes_on_there(tmp_path):
    done, verbs = run_with_fake(tmp_path, "143\n0\n", "READY\n")
    assert done.returncode == 0
    assert verbs == [*START, "run", "describe", "run", "scp", "delete"]


def test_a_failed_job_is_not_repeated_and_nothing_is_left_behind(tmp_path):
    done, verbs = run_with_fake(tmp_path, "2\n", "READY\n")
    assert done.returncode == 2
    assert done.stderr.rstrip().splitlines()[-2] == "error: the job ended with code 2"
    assert verbs == [*START, "run", "describe", "scp", "delete"]


def test_restarts_end(tmp_path):
    done, verbs = run_with_fake(tmp_path, "143\n143\n", "READY\nREADY\n", "--restarts=1")
    assert done.returncode == 1
    assert "error: preempted 2 times; see --restarts" in done.stderr
    assert verbs == [*START, "run", "describe", "run", "describe", "delete"]


def test_keep_leaves_the_machine(tmp_path):
    done, verbs = run_with_fake(tmp_path, "0\n", "", "--keep")
    assert verbs == [*START, "run", "scp"]
    assert "digits is kept and goes on costing money" in done.stderr


def test_the_queue_is_waited_for(tmp_path):
    states = "WAITING_FOR_RESOURCES\nPROVISIONING\nACTIVE\n"
    done, verbs = run_with_fake(tmp_path, "0\n", states, "--queue=1h")
    assert done.returncode == 0
    assert verbs == ["create", *["describe"] * 3, "scp", "ssh", "run", "scp", "delete"]


def test_a_queue_that_gives_nothing_is_an_error(tmp_path):
    done, verbs = run_with_fake(tmp_path, "", "FAILED\n", "--queue=1h")
    assert done.returncode == 1
    assert "error: the queued machine digits is FAILED" in done.stderr
    assert verbs == ["create", "describe", "delete"]


def packed(tmp_path) -> set[str]:
    with tarfile.open(tmp_path / "fake" / "packed.tar.gz") as archive:
        return {m.name.removeprefix("./") for m in archive if m.isfile()} - {
            f"launch/{path.name}" for path in (ROOT / "launch").iterdir()
        }


def checkout(tmp_path) -> pathlib.Path:
    home = tmp_path / "checkout"
    for name in (
        "setup.py",
        "new file.py",
        "runs/a/big",
        ".venv/bin/python",
        ".venv-newest/bin/python",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("")
    return home


def test_what_git_tracks_or_would_add_is_copied(tmp_path):
    home = checkout(tmp_path)
    (home / ".gitignore").write_text("/runs/\n/.venv/\n/.venv-*/\n")
    (home / "deleted.py").write_text("")
    subprocess.run(["git", "init", "-q"], cwd=home, check=True)
    subprocess.run(["git", "add", "setup.py", "deleted.py"], cwd=home, check=True)
    (home / "deleted.py").unlink()
    done, _ = run_with_fake(tmp_path, "0\n", "")
    assert done.returncode == 0, done.stderr
    assert packed(tmp_path) == {"setup.py", "new file.py", ".gitignore"}


def test_without_git_all_but_what_is_made_here_is_copied(tmp_path):
    checkout(tmp_path)
    done, _ = run_with_fake(tmp_path, "0\n", "")
    assert done.returncode == 0, done.stderr
    assert packed(tmp_path) == {"setup.py", "new file.py"}


# --- On the machine ------------------------------------------------------------------------------

STORE = """#!/usr/bin/env bash
# gcloud storage ls|cp with gs:// as a folder of this machine.
args=("${@:2}")
for i in "${!args[@]}"; do args[i]=${args[i]/#gs:\\/\\//$FAKE\\/}; done
case ${args[0]} in
ls) [ -e "${args[1]}" ] ;;
cp) cp "${args[2]}" "${args[3]}" ;;
esac
"""
MAIN = """#!/usr/bin/env bash
# In place of Python: counts its starts in the workdir, waits for SIGTERM in the first.
dir=${!#}; dir=${dir#--workdir=}; mkdir -p "$dir"
trap 'echo saved > "$dir/checkpoint"; exit 143' TERM
echo "$JAX_PLATFORMS ${MGP_COORDINATOR-alone} $*" >> "$dir/starts"
[ "$(wc -l < "$dir/starts")" = 1 ] || exit 0
while :; do sleep 0.1; done
"""


def on_vm(tmp_path, *words: str) -> subprocess.Popen:
    repo = tmp_path / "repo"
    for path, text in ((".venv/bin/python", MAIN), ("fake/gcloud", STORE)):
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text)
        (repo / path).chmod(0o755)
    shutil.copytree(ROOT / "launch", repo / "launch", dirs_exist_ok=True)
    fake = repo / "fake"
    env = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}", "FAKE": str(fake)}
    env.pop("JAX_PLATFORMS", None)
    env.pop("MGP_COORDINATOR", None)
    return subprocess.Popen(["bash", str(repo / "launch" / "on_vm.sh"), *words], env=env)


def wait_for(path: pathlib.Path) -> None:
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_sigterm_saves_and_the_next_machine_goes_on_from_the_store(tmp_path):
    words = ("run", "runs/a", "1", "gs://a.tar.gz", "", "--config=c.py")
    work = tmp_path / "repo" / "runs" / "a"
    first = on_vm(tmp_path, *words)
    wait_for(work / "starts")
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 143
    assert (work / "checkpoint").read_text() == "saved\n"

    shutil.rmtree(tmp_path / "repo" / "runs")  # the machine is gone, and its disk
    assert on_vm(tmp_path, *words).wait(20) == 0
    assert (work / "checkpoint").read_text() == "saved\n"
    line = "tpu,cpu alone -m maskgit_prompt.main --config=c.py --workdir=runs/a\n"
    assert (work / "starts").read_text() == 2 * line


def test_hosts_of_one_job_are_told_so(tmp_path):
    work = tmp_path / "shared" / "a"
    work.mkdir(parents=True)
    (work / "starts").write_text("first\n")
    assert on_vm(tmp_path, "run", str(work), "1", "", "auto", "--config=c.py").wait(20) == 0
    assert (work / "starts").read_text().splitlines()[1].startswith("tpu,cpu auto -m")
