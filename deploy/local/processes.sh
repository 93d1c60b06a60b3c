# shellcheck shell=bash
# Processes, ports and places for the scripts of this folder; sourced, never run.
#
# A process is known by its pid and its start time (clock ticks since boot, field 22 of /proc/PID/stat): a pid alone is
# used again by the kernel, and stopping "whatever has this pid now" could end a stranger.

# fail MESSAGE: one line on stderr, then exit 1.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# start_time PID: prints the start time; fails when there is no such process, or only a zombie. A zombie with other threads
# (field 20 counts it too) is not gone: those still hold its sockets.
start_time() {
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The name (field 2) may hold blanks and brackets: count from the last bracket.
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} == [ZX] ]] && ((fields[17] <= 1)) && return 1
    printf '%s\n' "${fields[19]}"
}

# record PID FILE: writes "PID START_TIME", over what is there and always as long: that works on a full disk too.
record() {
    local started
    started=$(start_time "$1") || return 1
    { printf '%-40s\n' "$1 $started" 1<>"$2"; } 2>/dev/null
}

# recorded FILE: prints the pid in FILE when that very process still runs.
recorded() {
    local pid started
    { read -r pid started <"$1"; } 2>/dev/null || return 1
    [[ $pid =~ ^[0-9]+$ && -n $started && $(start_time "$pid") == "$started" ]] && printf '%s\n' "$pid"
}

# spawn PID_FILE LOG COMMAND...: starts COMMAND in a session of its own, so that a terminal's Ctrl-C does not reach it,
# and records it (nothing is recorded of one that has ended already, and one that cannot be recorded is ended: nobody would
# find it to stop it). A background job of a script is no group leader: setsid does not fork, and $! is the command itself.
spawn() {
    local file=$1 log=$2
    shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
    if ! record $! "$file"; then
        kill -s KILL $! 2>/dev/null || true
        rm -f "$file"
    fi
    disown # or bash would tell the terminal how it ended
}

# wait_gone FILE SECONDS: waits until the recorded process is gone.
wait_gone() {
    local deadline=$((SECONDS + $2))
    while recorded "$1" >/dev/null; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# stop_recorded FILE SIGNAL SECONDS: sends SIGNAL, and SIGKILL when the process is still there after SECONDS.
stop_recorded() {
    local pid
    if pid=$(recorded "$1"); then
        kill -s CONT "$pid" 2>/dev/null || true
        kill -s "$2" "$pid" 2>/dev/null || true
        if ! wait_gone "$1" "$3"; then
            kill -s KILL "$pid" 2>/dev/null || true
            wait_gone "$1" 10 || return 1
        fi
    fi
    rm -f "$1"
}

# descendants PID: prints the pids below PID, parents first.
descendants() {
    local child
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        printf '%s\n' "$child"
        descendants "$child"
    done
}

# port_taken PORT: something listens on PORT, on any address of this machine.
port_taken() {
    local hex files=(/proc/net/tcp)
    hex=$(printf '%04X' "$1")
    [[ -r /proc/net/tcp6 ]] && files+=(/proc/net/tcp6)
    awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' "${files[@]}"
}

# free_port: prints a port that nobody listens on, below the range the kernel takes for outgoing connections.
free_port() {
    local port attempt
    for ((attempt = 0; attempt < 200; attempt++)); do
        port=$((20000 + SRANDOM % 12000))
        port_taken "$port" || { printf '%s\n' "$port"; return; }
    done
    fail "no free port between 20000 and 31999"
}

# random_secret: prints 32 hexadecimal digits of the kernel's randomness.
random_secret() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# postgres_user: whom PostgreSQL runs as, since it refuses root: the system's own postgres, else nobody. Without root: ourselves.
postgres_user() {
    if ((EUID != 0)); then
        id -un
    else
        id -un postgres 2>/dev/null || echo nobody
    fi
}

# as_postgres USER COMMAND...: runs COMMAND as USER, by exec (so that the pid stays); call it in a subshell or from spawn.
as_postgres() {
    local user=$1
    shift
    if ((EUID == 0)); then
        exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
    fi
    exec "$@"
}

# place_for_postgres PATH: prints PATH when PostgreSQL's user can reach it, else a folder under /var/lib/switchboard that
# stands for it: a clone below a folder of root alone (/root is the usual one) is closed to every other user.
place_for_postgres() {
    local path=$1 ancestor=$1
    while [[ ! -d $ancestor ]]; do ancestor=$(dirname "$ancestor"); done
    if ((EUID != 0)) || (as_postgres "$(postgres_user)" test -x "$ancestor"); then
        printf '%s\n' "$path"
    else
        printf '/var/lib/switchboard/%s\n' "$(printf '%s' "$path" | sha256sum | cut -c1-16)"
    fi
}
