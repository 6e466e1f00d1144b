"""What is printed does not end a run: closed streams, readers that leave, poor encodings."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HEAD = "from maskgit_prompt import console; console.settle(); import os, sys\n"
# As a job does: lines on stdout, a progress line and an error on stderr, then the end of its work.
WORK = HEAD + (
    "from maskgit_prompt.progress import progress\n"
    "for i in range(2000): print('line', i, 'gr\\xf6\\xdfe \\u2192 ok', flush=i % 2 == 0)\n"
    "with progress(3, 'tune') as bar: [bar.update(1, {'loss': '\\xfc'}) for _ in range(3)]\n"
    "print('error: \\u2026 \\xfc', file=sys.stderr)\n"
    "open(sys.argv[1], 'w').write('done')\n"
)


def shell(command: str, tmp_path: pathlib.Path, **env: str) -> tuple[str, str]:
    """(stdout, stderr) of a shell command with PYTHON -c CODE as "$@"; its work is done."""
    done = tmp_path / "done"
    words = [sys.executable, "-c", WORK, str(done)]
    found = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", "bash", *words],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **env},
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    assert done.read_text() == "done"
    return found.stdout.decode(), found.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ('"$@" | head -1', "line 0 größe → ok\n"),
        ('"$@" >&-', ""),
        ('"$@" >&- 2>&-', ""),
        ('"$@" 0>&- >&- 2>&-', ""),
        ('"$@" >/dev/full', ""),
        ('"$@" 2>&1 >/dev/null | head -1', "tune:   0% 0/3 [00:00<?, ?it/s]\n"),
    ],
)
def test_nobody_reads(command, out, tmp_path):
    found, err = shell(command, tmp_path, PYTHONIOENCODING="utf-8")
    assert found == out
    assert "Traceback" not in err and "Exception ignored" not in err


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""},
        {"PYTHONIOENCODING": "latin-1:strict"},
    ],
)
def test_an_encoding_that_lacks_it(env, tmp_path):
    out, err = shell('"$@" | tail -1 | iconv -f latin1 -t utf-8', tmp_path, **env)
    small = "größe" if "latin-1:strict" in env.values() else "gr\\xf6\\xdfe"
    assert out == f"line 1999 {small} \\u2192 ok\n"
    assert "Traceback" not in err and "UnicodeEncodeError" not in err


def test_help_to_a_reader_that_leaves():
    command = [sys.executable, "-m", "maskgit_prompt.main", "--helpfull"]
    line = subprocess.list2cmdline(command) + " | head -1"
    found = subprocess.run(["bash", "-c", line], capture_output=True, cwd=ROOT, timeout=120)
    assert found.stdout.startswith(b"job run") and found.stderr == b""


def test_a_file_that_is_opened_is_not_taken_for_stdout(tmp_path):
    code = (
        HEAD + "f = open(sys.argv[1], 'w'); f.write('x'); f.close(); os.write(1, b'of a library')"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "file")]
    subprocess.run(["bash", "-c", '"$@" >&-', "bash", *words], cwd=ROOT, check=True)
    assert (tmp_path / "file").read_text() == "x"
