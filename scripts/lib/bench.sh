# shellcheck shell=bash
# What the benchmarks share: reading results, arithmetic, the report. Source it after common.sh.

[ -z "${CAPCONDUIT_LIB_BENCH-}" ] || return 0
CAPCONDUIT_LIB_BENCH=1

# value KEY LINE: the value of KEY in a line of key=value.
value() {
    local pair
    for pair in $2; do
        case "$pair" in "$1="*) printf '%s\n' "${pair#*=}" ;; esac
    done
}
# median: of the numbers on standard input.
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f\n", b ? a / b : 0 }'; }
resident_mib() { awk '/^VmRSS:/ { printf "%.1f\n", $2 / 1024 }' "/proc/$1/status"; }
mib() { awk -v kib="$1" 'BEGIN { printf "%.1f\n", kib / 1024 }'; }

# The machine, in a line.
machine() {
    printf '%s, %s cores, %s, %s, %s, load average %s.\n' "$(date -u +%Y-%m-%d)" "$(nproc)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(uname -sr)" \
        "$("$POSTGRES_BIN/postgres" --version)" "$(cut -d' ' -f1 /proc/loadavg)"
}

report=()
line() { report+=("$*"); }

# generator NAME: builds a load generator and prints its path.
build_generator() {
    local built
    built=$(cargo bench --profile ci --bench "$1" --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    [ -x "$built" ] || die "the load generator $1 was not built"
    printf '%s\n' "$built"
}
