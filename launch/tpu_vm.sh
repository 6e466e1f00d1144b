#!/usr/bin/env bash
# Runs a job of maskgit_prompt on a Cloud TPU VM: create, copy, install, run, fetch, delete.
#
#   launch/tpu_vm.sh --name=NAME --zone=ZONE --type=TYPE [option]... -- [flag of main]...
#
#   launch/tpu_vm.sh --name=digits --zone=us-west4-a --type=v5litepod-4 --spot \
#       --store=gs://BUCKET/digits.tar.gz -- --config=configs/quickstart.py
#
# NOT RUN: no TPU and no internet where this was written. tests/test_launch.py tests --dry-run, and
# the order of commands and restarts with a stand-in for gcloud.
#
#   --name=NAME        the machine's name
#   --zone=ZONE        the machine's zone; it must offer the type
#   --type=TYPE        v2-8, v3-8, v4-8, v5litepod-1|4|8, v5p-8, v6e-1|4|8: one host;
#                      more chips: several hosts, which need --shared
#   --project=ID       default: gcloud's own
#   --version=IMAGE    default: by type
#   --spot             cheaper, but may be taken away
#   --queue=DURATION   wait in the queue for up to this time (6h), instead of failing at once
#   --workdir=DIR      on the machine, default runs/NAME
#   --store=gs://…     file that keeps the workdir while machines come and go (one host)
#   --shared           the workdir is in a folder that all hosts see, such as NFS; needs --workdir
#   --setup=COMMAND    run on every host before the installation, such as a mount
#   --hours=N          stop the job, with a checkpoint, after N hours; default 12
#   --restarts=N       how often to start again after a preemption; default 20
#   --keep             keep the machine at the end; it goes on costing money
#   --dry-run          print the gcloud commands, run none
#   --help
#
# Exit code: that of the job; 2: wrong use; 1: gcloud failed, or too many restarts.
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit "${2:-2}"
}

# --- Options -------------------------------------------------------------------------------------

NAME='' ZONE='' TYPE='' PROJECT='' VERSION='' QUEUE='' WORKDIR='' STORE='' SETUP=''
SPOT=0 SHARED=0 KEEP=0 DRY=0 HOURS=12 RESTARTS=20
while (($#)); do
    case $1 in
    --name=*) NAME=${1#*=} ;;
    --zone=*) ZONE=${1#*=} ;;
    --type=*) TYPE=${1#*=} ;;
    --project=*) PROJECT=${1#*=} ;;
    --version=*) VERSION=${1#*=} ;;
    --queue=*) QUEUE=${1#*=} ;;
    --workdir=*) WORKDIR=${1#*=} ;;
    --store=*) STORE=${1#*=} ;;
    --setup=*) SETUP=${1#*=} ;;
    --hours=*) HOURS=${1#*=} ;;
    --restarts=*) RESTARTS=${1#*=} ;;
    --spot) SPOT=1 ;;
    --shared) SHARED=1 ;;
    --keep) KEEP=1 ;;
    --dry-run) DRY=1 ;;
    --help | -h)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
        exit 0
        ;;
    --)
        shift
        break
        ;;
    *) fail "unknown option $1; see --help (flags of the job come after --)" ;;
    esac
    shift
done

[[ $NAME =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] ||
    fail "--name=$NAME: expected lower-case letters, digits and -, beginning with a letter"
[[ $ZONE =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] || fail "--zone=$ZONE: expected a zone such as us-west4-a"
[[ $HOURS =~ ^[1-9][0-9]*$ ]] || fail "--hours=$HOURS: expected a whole number of hours"
[[ $RESTARTS =~ ^[0-9]+$ ]] || fail "--restarts=$RESTARTS: expected a whole number"
[[ -z $QUEUE || $QUEUE =~ ^[1-9][0-9]*[smhd]$ ]] || fail "--queue=$QUEUE: expected a time such as 6h"
[[ -z $STORE || $STORE =~ ^gs://.+\.tar\.gz$ ]] ||
    fail "--store=$STORE: expected a file such as gs://BUCKET/$NAME.tar.gz"
case $TYPE in
v2-* | v3-* | v4-*) image=tpu-ubuntu2204-base ;;
v5litepod-*) image=v2-alpha-tpuv5-lite ;;
v5p-*) image=v2-alpha-tpuv5 ;;
v6e-*) image=v2-alpha-tpuv6e ;;
*) fail "--type=$TYPE: expected a type such as v2-8, v3-8, v4-8, v5litepod-4, v5p-8 or v6e-4" ;;
esac
case $TYPE in
v[2-4]-8 | v5litepod-[148] | v5p-8 | v6e-[148]) HOSTS=one ;;
*) HOSTS=several ;;
esac
if [[ $HOSTS == several && $SHARED == 0 ]]; then
    fail "--type=$TYPE has several hosts, which must all see one workdir: give --shared and --workdir"
fi
[[ $SHARED == 0 || $WORKDIR == /* ]] || fail "--shared needs --workdir=/PATH in a folder all hosts see"
[[ $SHARED == 0 || -z $STORE ]] || fail "--store and --shared: use one; a shared workdir needs no --store"
config=''
for flag in "$@"; do
    case $flag in
    --config=*) config=$flag ;;
    --workdir*) fail "$flag after --: use the launcher's own --workdir" ;;
    esac
done
[[ -n $config ]] || fail "no --config=FILE after --, such as -- --config=configs/quickstart.py"
: "${VERSION:=$image}" "${WORKDIR:=runs/$NAME}"

cd "$(dirname "$0")/.."
HOME_THERE=maskgit_prompt # the repository's folder on the machine
WHERE=("--zone=$ZONE" ${PROJECT:+"--project=$PROJECT"})

# --- gcloud --------------------------------------------------------------------------------------

# Prints the command, quoted so that it can be pasted, and runs it unless --dry-run.
call() {
    { printf 'gcloud' && printf ' %q' "$@" && printf '\n'; } >&"$((DRY ? 1 : 2))"
    ((DRY)) || gcloud "$@"
}

create() {
    local what=("$NAME" "${WHERE[@]}" "--accelerator-type=$TYPE")
    ((SPOT)) && what+=(--spot)
    if [[ -n $QUEUE ]]; then
        call compute tpus queued-resources create "${what[@]}" "--node-id=$NAME" \
            "--runtime-version=$VERSION" "--valid-until-duration=$QUEUE" --async &&
            await
    else
        call compute tpus tpu-vm create "${what[@]}" "--version=$VERSION"
    fi
}

# Waits until the queue has provided the machine.
await() {
    local state
    while :; do
        state=$(call compute tpus queued-resources describe "$NAME" "${WHERE[@]}" \
            '--format=value(state.state)') || return
        if ((DRY)); then
            echo "$state"
            return
        fi
        case $state in
        ACTIVE) return ;;
        FAILED | SUSPENDED | SUSPENDING | DELETING)
            echo "error: the queued machine $NAME is $state" >&2
            return 1
            ;;
        esac
        sleep "${POLL_SECONDS:-30}"
    done
}

delete() {
    if [[ -n $QUEUE ]]; then
        call compute tpus queued-resources delete "$NAME" "${WHERE[@]}" --force --quiet
    else
        call compute tpus tpu-vm delete "$NAME" "${WHERE[@]}" --quiet
    fi
}

alive() {
    [[ $(gcloud compute tpus tpu-vm describe "$NAME" "${WHERE[@]}" '--format=value(state)') == READY ]]
}

everywhere() {
    call compute tpus tpu-vm ssh "$NAME" "${WHERE[@]}" --worker=all "--command=$1"
}

# --- The steps -----------------------------------------------------------------------------------

# What git tracks or would add, so that nothing must be pushed; without git, all but generated files.
pack() {
    local file
    if [[ -e .git ]]; then
        git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
            [[ ! -e $file ]] || printf '%s\0' "$file" # deleted, but not yet in git
        done | tar --null -czf "$1" -T -
    else
        tar -czf "$1" --exclude=./.venv --exclude='./.venv-*' --exclude=./runs --exclude=__pycache__ .
    fi
}

install() {
    local packed=/tmp/maskgit_prompt.tar.gz
    if ! ((DRY)); then
        packed=$SCRATCH/maskgit_prompt.tar.gz
        pack "$packed" || return
    fi
    call compute tpus tpu-vm scp "$packed" "$NAME:maskgit_prompt.tar.gz" "${WHERE[@]}" \
        --worker=all || return
    [[ -z $SETUP ]] || everywhere "$SETUP" || return
    everywhere "mkdir -p $HOME_THERE && tar -xzf maskgit_prompt.tar.gz -C $HOME_THERE && bash $HOME_THERE/launch/on_vm.sh install"
}

job() {
    local coordinator=''
    [[ $HOSTS == several ]] && coordinator=auto
    everywhere "bash $HOME_THERE/launch/on_vm.sh run$(printf ' %q' \
        "$WORKDIR" "$HOURS" "$STORE" "$coordinator" "$@")"
}

fetch() {
    local there=$WORKDIR
    [[ $there == /* ]] || there=$HOME_THERE/$there
    ((DRY)) || mkdir -p runs
    call compute tpus tpu-vm scp --recurse "$NAME:$there" runs/ "${WHERE[@]}" --worker=0
}

CREATED=0
SCRATCH=$(mktemp -d)
finish() {
    rm -rf "$SCRATCH"
    if ((CREATED && KEEP)); then
        echo "$NAME is kept and goes on costing money" >&2
    elif ((CREATED)); then
        delete || echo "error: could not delete $NAME; look for it with gcloud compute tpus tpu-vm list" >&2
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

restarts=0
while :; do
    if ((!CREATED)); then
        CREATED=1 # before create: a creation that fails half-way leaves something to delete
        create || fail "could not create $NAME" 1
        install || fail "could not install on $NAME" 1
    fi
    code=0
    job "$@" || code=$?
    ((DRY || code == 0)) && break
    # 143: the job got SIGTERM and saved. Any other code counts as a preemption only where the
    # machine is gone: the connection then breaks (255), or another host of the slice aborts (134).
    if alive; then
        if ((code != 143)); then
            fetch || true
            fail "the job ended with code $code" "$code"
        fi
    else
        delete || true
        CREATED=0
    fi
    ((++restarts <= RESTARTS)) || fail "preempted $restarts times; see --restarts" 1
    echo "preempted (code $code), start $restarts of $RESTARTS" >&2
done
fetch
