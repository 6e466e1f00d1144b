#!/usr/bin/env bash
# The part of launch/tpu_vm.sh that runs on the machine itself.
#
#   on_vm.sh install
#   on_vm.sh run WORKDIR HOURS STORE COORDINATOR [flag of maskgit_prompt.main]...
#
# STORE: gs://… of a file that keeps the workdir while machines come and go, or "".
# COORDINATOR: "auto" if several hosts run one job, or "".
#
# NOT RUN on a TPU: see launch/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

install() {
    # The machine's own Python is 3.10, too old for JAX: uv installs another.
    python3 -m pip install --quiet --user uv
    export PATH="$HOME/.local/bin:$PATH"
    uv venv --quiet --allow-existing --python 3.11 .venv
    uv pip install --quiet --python .venv/bin/python -e '.[tpu]'
}

# A single object of Cloud Storage appears whole or not at all; a folder of objects does not. tar
# exits with 1 if a file changed meanwhile; that is fine, as a checkpoint is renamed when whole.
store() {
    local code=0
    [[ -n $STORE && -d $WORKDIR ]] || return 0
    tar -czf "$WORKDIR.tar.gz" -C "$WORKDIR" . || code=$?
    ((code <= 1)) || return "$code"
    gcloud storage cp --quiet "$WORKDIR.tar.gz" "$STORE"
}

keep_stored() {
    local next=$((SECONDS + 300))
    while sleep 5; do
        ((SECONDS >= next)) || continue
        store || true
        next=$((SECONDS + 300))
    done
}

fetch() {
    [[ -n $STORE && ! -d $WORKDIR ]] || return 0
    gcloud storage ls "$STORE" >/dev/null 2>&1 || return 0 # the first start
    gcloud storage cp --quiet "$STORE" "$WORKDIR.tar.gz"
    mkdir -p "$WORKDIR.part"
    tar -xzf "$WORKDIR.tar.gz" -C "$WORKDIR.part"
    mv "$WORKDIR.part" "$WORKDIR"
}

run() {
    local hours=$1 coordinator=$2 code=0 keeper=
    shift 2
    mkdir -p "$(dirname "$WORKDIR")"
    fetch
    # The job ends by itself after SIGTERM and saves a checkpoint; a shutdown sends SIGTERM, too.
    trap : TERM
    # "tpu" first: without a TPU this is an error, not a slow run on the CPU.
    export JAX_PLATFORMS=${JAX_PLATFORMS:-tpu,cpu}
    [[ -z $coordinator ]] || export MGP_COORDINATOR=$coordinator
    timeout --kill-after=60 "${hours}h" \
        .venv/bin/python -m maskgit_prompt.main "$@" --workdir="$WORKDIR" &
    local job=$!
    if [[ -n $STORE ]]; then
        # No output: a process that outlives the job must not hold the ssh connection open.
        keep_stored >/dev/null 2>&1 &
        keeper=$!
    fi
    wait "$job" || code=$?
    # `wait` also returns if the shell itself got the signal: pass it on and wait for the end.
    if kill -0 "$job" 2>/dev/null; then
        kill -TERM "$job" 2>/dev/null || true
        code=0
        wait "$job" || code=$?
    fi
    if [[ -n $keeper ]]; then
        kill "$keeper" 2>/dev/null || true
        wait "$keeper" 2>/dev/null || true
    fi
    store
    return "$code"
}

case "${1:-}" in
install) install ;;
run)
    WORKDIR=$2 STORE=$4
    run "$3" "$5" "${@:6}"
    ;;
*)
    echo "error: ${1:-nothing}: expected install or run; launch/tpu_vm.sh calls this" >&2
    exit 2
    ;;
esac
