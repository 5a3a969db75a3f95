# shellcheck shell=bash
# A private Asterisk and sipp for tests and demonstrations, started from the output of
# scripts/render-asterisk-config. Uses the machine's own asterisk if it is 20 or later and complete,
# else a Debian tree in the cache directory, entered with chroot in a mount namespace of its own.
# Never starts a service.
#
#     asterisk_ensure                     # decides, and builds the tree if need be (about a minute)
#     asterisk_start "$conf"              # returns when calls and ARI are answered
#     asterisk_cli "$conf" core show channels
#     sipp_run 127.0.0.1:5060 -sf tests/sipp/carrier.xml -inf calls.csv -m 1 ...
#     asterisk_stop "$conf"
#
# Environment:
#     CAPCONDUIT_ASTERISK   auto (default), system or tree
#     CAPCONDUIT_SUITE      Debian suite of the tree (forky)
#     CAPCONDUIT_MIRROR     its mirror (default: the one apt uses here)
#     CAPCONDUIT_CACHE      cache directory (default: .cache in the repository)

[ -z "${CAPCONDUIT_LIB_ASTERISK-}" ] || return 0
CAPCONDUIT_LIB_ASTERISK=1
# shellcheck source-path=SCRIPTDIR
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ASTERISK_NEEDS=(res_odbc res_config_odbc res_agi res_ari res_ari_events chan_pjsip app_mixmonitor)
# Raise it when the list of packages below changes: older trees are then built anew.
ASTERISK_TREE_VERSION=1
ASTERISK_TREE_PACKAGES=asterisk,asterisk-modules,sip-tester,odbc-postgresql,util-linux

# Sets ASTERISK_TREE: empty for the machine's own Asterisk, else the directory of the tree.
asterisk_ensure() {
    local choice=${CAPCONDUIT_ASTERISK:-auto}
    if [ "$choice" = auto ]; then
        if asterisk_system_fits; then choice=system; else choice=tree; fi
    fi
    case "$choice" in
        tree) asterisk_tree_ensure ;;
        system)
            asterisk_system_fits || die "the machine's asterisk will not do: $ASTERISK_MISFIT"
            have sipp || apt_install sip-tester
            ASTERISK_TREE=
            ;;
        *) die 'CAPCONDUIT_ASTERISK must be auto, system or tree' ;;
    esac
}

# Is the machine's asterisk of version 20 or later, with all modules and the ODBC driver? Says why not
# in ASTERISK_MISFIT.
asterisk_system_fits() {
    local version module dir modules=
    ASTERISK_MISFIT='not installed'
    have asterisk || return 1
    version=$(asterisk -V 2>/dev/null | sed -n 's/^Asterisk [^0-9]*\([0-9]*\).*/\1/p')
    ASTERISK_MISFIT="version ${version:-unknown} is not 20 or later"
    [ "${version:-0}" -ge 20 ] || return 1
    for dir in /usr/lib/*/asterisk/modules /usr/lib/asterisk/modules /usr/lib64/asterisk/modules; do
        [ ! -e "$dir/chan_pjsip.so" ] || modules=$dir
    done
    ASTERISK_MISFIT='its module directory was not found'
    [ -n "$modules" ] || return 1
    for module in "${ASTERISK_NEEDS[@]}"; do
        ASTERISK_MISFIT="module $module is missing"
        [ -e "$modules/$module.so" ] || return 1
    done
    ASTERISK_MISFIT="PostgreSQL's ODBC driver is missing (odbc-postgresql)"
    compgen -G '/usr/lib*/psqlodbcw.so' >/dev/null || compgen -G '/usr/lib/*/odbc/psqlodbcw.so' >/dev/null
}

# --- the tree -------------------------------------------------------------------------------------

asterisk_tree_ensure() {
    local cache marker
    cache=$(cache_dir)
    ASTERISK_TREE=$cache/asterisk-tree
    marker=$ASTERISK_TREE/.capconduit-complete
    [ "$(cat "$marker" 2>/dev/null)" != "$ASTERISK_TREE_VERSION" ] || return 0

    local lock
    exec {lock}>"$cache/asterisk-tree.lock"
    flock "$lock"
    if [ "$(cat "$marker" 2>/dev/null)" != "$ASTERISK_TREE_VERSION" ]; then
        asterisk_tree_build "$ASTERISK_TREE"
    fi
    exec {lock}>&-
}

# asterisk_tree_build TREE: made beside and moved into place, so that an interrupted run leaves nothing
# that looks finished. Debootstrap's mounts live in a namespace of their own and vanish with it.
asterisk_tree_build() {
    local tree=$1 partial=$1.partial log=$1.log suite script mirror keyring started=$SECONDS
    asterisk_need_mounts
    apt_install debootstrap debian-archive-keyring wget
    suite=${CAPCONDUIT_SUITE:-forky}
    script=/usr/share/debootstrap/scripts/$suite
    # A debootstrap older than the suite has no script for it; sid's serves every newer one.
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
    mirror=${CAPCONDUIT_MIRROR:-$(asterisk_debian_mirror)}
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e "$keyring" ] || keyring=/usr/share/keyrings/debian-archive-keyring.pgp

    say "building a Debian $suite tree with Asterisk in $tree (once; about a minute)"
    # Without a mirror debootstrap takes the default of its script.
    local command=(debootstrap --variant=minbase "--include=$ASTERISK_TREE_PACKAGES" "--keyring=$keyring"
        "$suite" "$partial" "$mirror" "$script")
    local environment=(DEBIAN_FRONTEND=noninteractive) proxy
    proxy=$(apt-config shell p Acquire::http::Proxy 2>/dev/null | sed -n "s/^p='\(.*\)'$/\1/p")
    [ -z "$proxy" ] || [ "$proxy" = DIRECT ] || environment+=("http_proxy=$proxy")
    # Some hundred packages are fetched: a mirror that fails for one may give it at the next try.
    local tries=0
    while :; do
        tries=$((tries + 1))
        as_root rm -rf --one-file-system "$partial"
        ! as_root unshare --mount --propagation private env "${environment[@]}" "${command[@]}" \
            2>&1 </dev/null | asterisk_tree_progress "$log" || break
        tail -n 15 "$log" >&2
        if [ "$tries" -lt 3 ] && grep -q "^E: Couldn't download" "$log"; then
            warn 'the mirror did not give every package; trying again'
            sleep "$((tries * 5))"
            continue
        fi
        die "could not build the Debian tree (log: $log). Set CAPCONDUIT_MIRROR to a Debian mirror that is reachable, or install Asterisk 20 or later."
    done
    # Nothing in it shall ever start a service, and what was downloaded is of no more use.
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$partial/usr/sbin/policy-rc.d" >/dev/null
    as_root chmod 755 "$partial/usr/sbin/policy-rc.d"
    as_root find "$partial/var/cache/apt" "$partial/var/lib/apt/lists" -type f -delete
    as_root chroot "$partial" asterisk -V >/dev/null || die "the tree's asterisk does not run"
    as_root rm -rf --one-file-system "$tree"
    echo "$ASTERISK_TREE_VERSION" | as_root tee "$partial/.capconduit-complete" >/dev/null
    as_root mv "$partial" "$tree"
    say "tree ready after $((SECONDS - started)) s: $(as_root chroot "$tree" asterisk -V)"
}

# Keep the log, show its milestones.
asterisk_tree_progress() {
    local line last='' now
    : >"$1"
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$1"
        case "$line" in
            'I: Retrieving Packages'*) now='reading package lists' ;;
            'I: Retrieving '*) now='downloading' ;;
            'I: Extracting '*) now='extracting' ;;
            'I: Unpacking '* | 'I: Installing core'*) now='unpacking' ;;
            'I: Configuring '*) now='configuring' ;;
            *) now=$last ;;
        esac
        [ "$now" = "$last" ] || printf '    %s\n' "$now" >&2
        last=$now
    done
}

# The Debian mirror of this machine's apt; on other systems that of debootstrap's own script.
asterisk_debian_mirror() {
    local mirror
    mirror=$(asterisk_apt_mirrors)
    if [ -z "$mirror" ] && [ -z "${CAPCONDUIT_APT_UPDATED-}" ] && grep -qx 'ID=debian' /etc/os-release; then
        apt_update_once
        mirror=$(asterisk_apt_mirrors)
    fi
    [ -n "$mirror" ] ||
        mirror=$(sed -n 's/^default_mirror //p' /usr/share/debootstrap/scripts/sid | head -n 1)
    [ -n "$mirror" ] || die 'no Debian mirror known: set CAPCONDUIT_MIRROR'
    printf '%s\n' "$mirror"
}

# shellcheck disable=SC2016  # apt's format, not ours
asterisk_apt_mirrors() {
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's#^Debian main \(https\{0,1\}://.*[^/]\)/*$#\1#p' | head -n 1
}

asterisk_need_mounts() {
    need_root 'entering the Asterisk tree'
    as_root unshare --mount --propagation private true 2>/dev/null ||
        die 'may not make a mount namespace here (a container without CAP_SYS_ADMIN?): install Asterisk 20 or later with odbc-postgresql and sip-tester instead, or run privileged'
}

# --- Asterisk -------------------------------------------------------------------------------------

# asterisk_setting FILE KEY: a value of a rendered file.
asterisk_setting() { sed -n "s/^$2 *=>\{0,1\} *//p" "$1" | head -n 1; }

# Set ASTERISK_ENTER to the words that run a command where Asterisk runs, as the owner of OUT_DIR.
asterisk_enter() {
    local conf=$1 owner group tree=${ASTERISK_TREE-} dir dirs
    owner=$(stat -c %u "$conf")
    group=$(stat -c %g "$conf")
    local become=(setpriv "--reuid=$owner" "--regid=$group" --clear-groups)
    if [ -z "$tree" ]; then
        ASTERISK_ENTER=()
        [ "$(id -u)" -eq "$owner" ] || ASTERISK_ENTER=(as_root "${become[@]}")
        return 0
    fi
    # What Asterisk shares with the outside has the same name inside.
    dirs=("$conf" "$(dirname "$(asterisk_setting "$conf/asterisk.conf" astrundir)")"
        "$(asterisk_setting "$conf/extensions.conf" RECORDING_DIR)"
        "$(asterisk_setting "$conf/extensions.conf" ANNOUNCEMENT_DIR)")
    dir=$(asterisk_setting "$conf/odbc.ini" Servername)
    case "$dir" in
        /*) dirs+=("$dir") ;;
    esac
    # The tree itself stays as it is: /tmp and /run are new, the mount points of other directories are
    # made once and stay, empty.
    # shellcheck disable=SC2016  # for the inner shell
    ASTERISK_ENTER=(as_root unshare --mount --propagation private sh -euc '
        tree=$1; shift
        mount -t proc proc "$tree/proc"
        mount --rbind /dev "$tree/dev"
        mount -t tmpfs tmpfs "$tree/tmp"
        mount -t tmpfs tmpfs "$tree/run"
        for file in resolv.conf hosts; do
            if [ -e "/etc/$file" ]; then
                [ -e "$tree/etc/$file" ] || : >"$tree/etc/$file"
                mount --bind "/etc/$file" "$tree/etc/$file"
            fi
        done
        while [ "$1" != -- ]; do
            if [ -d "$1" ]; then
                mkdir -p "$tree$1"
                mount --bind "$1" "$tree$1"
            fi
            shift
        done
        shift
        exec chroot "$tree" "$@"' sh "$tree" "${dirs[@]}" -- "${become[@]}")
}

# asterisk_start OUT_DIR [SECONDS]: start it and wait until it is fully booted, SIP is bound and ARI
# answers. What it prints goes to console.log in its log directory.
asterisk_start() {
    local conf seconds=${2:-60} run log pid ctl
    conf=$(cd "$1" && pwd)
    [ -n "${ASTERISK_TREE+set}" ] || asterisk_ensure
    [ -z "$ASTERISK_TREE" ] || asterisk_need_mounts
    run=$(asterisk_setting "$conf/asterisk.conf" astrundir)
    log=$(asterisk_setting "$conf/asterisk.conf" astlogdir)/console.log
    ctl=$run/asterisk.ctl
    [ -z "$(asterisk_pid "$conf")" ] || die "an Asterisk runs already from $conf"
    rm -f "$run/asterisk.pid" "$ctl"
    asterisk_enter "$conf"
    ${ASTERISK_ENTER[@]+"${ASTERISK_ENTER[@]}"} asterisk -C "$conf/asterisk.conf" -f \
        >>"$log" 2>&1 </dev/null &
    pid=$!
    disown "$pid"
    if ! wait_for "$seconds" "Asterisk from $conf is ready" asterisk_ready "$conf" "$pid" ||
        [ -z "$(asterisk_pid "$conf")" ]; then
        tail -n 20 "$log" >&2
        asterisk_stop "$conf"
        stop_pid "$pid"
        die "Asterisk did not start from $conf (log: $log)"
    fi
}

asterisk_ready() {
    local conf=$1 launcher=$2 host port
    pid_alive "$launcher" || return 0 # no use waiting; the caller looks
    [ -n "$(asterisk_pid "$conf")" ] || return 1
    host=$(asterisk_setting "$conf/http.conf" bindaddr)
    case "$host" in
        0.0.0.0) host=127.0.0.1 ;;
        ::) host=::1 ;;
    esac
    port=$(asterisk_setting "$conf/http.conf" bindport)
    asterisk_cli "$conf" core waitfullybooted | grep -q 'fully booted' && port_open "$host" "$port"
}

# The pid of the Asterisk of OUT_DIR, nothing if it does not run.
asterisk_pid() {
    local file pid
    file=$(asterisk_setting "$1/asterisk.conf" astrundir)/asterisk.pid
    pid=$(cat "$file" 2>/dev/null || true)
    # A stale file may name somebody else's process.
    if pid_alive "$pid" && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$1/asterisk.conf"; then
        echo "$pid"
    fi
}

# asterisk_cli OUT_DIR WORD...: one command line command.
asterisk_cli() {
    local conf=$1
    shift
    [ -n "${ASTERISK_TREE+set}" ] || asterisk_ensure
    asterisk_enter "$conf"
    ${ASTERISK_ENTER[@]+"${ASTERISK_ENTER[@]}"} asterisk -C "$conf/asterisk.conf" -rx "$*" </dev/null
}

# asterisk_stop OUT_DIR: stop it now, hanging up what is left. Does nothing if it does not run.
asterisk_stop() {
    local pid
    pid=$(asterisk_pid "$(cd "$1" && pwd)")
    [ -z "$pid" ] || stop_pid "$pid" 10
}

# --- sipp -----------------------------------------------------------------------------------------

# Set SIPP to the words that run sipp: the tree's (3.7 or later) with the tree's own loader and
# libraries, so that it needs neither root nor chroot; else the machine's.
sipp_find() {
    local loader libraries
    [ -n "${ASTERISK_TREE+set}" ] || asterisk_ensure
    if [ -n "$ASTERISK_TREE" ]; then
        loader=$(compgen -G "$ASTERISK_TREE/usr/lib/*/ld-linux*.so.*" | head -n 1)
        libraries=$(dirname "$loader")
        SIPP=("$loader" --library-path "$libraries" "$ASTERISK_TREE/usr/bin/sipp")
    elif have sipp; then
        SIPP=(sipp)
    else
        die 'sipp is not installed (package sip-tester)'
    fi
}

# sipp_run ARGS...: run sipp here and now; its exit status is ours (0: all calls went as the scenario
# says, 1: some did not, more: a timeout struck or it could not start; see tests/sipp/README.md).
sipp_run() {
    sipp_find
    TERM=${TERM:-dumb} "${SIPP[@]}" -nostdin "$@"
}

# sipp_start LOG ARGS...: the same in the background; sets SIPP_PID. Stop it with stop_pid.
sipp_start() {
    local log=$1
    shift
    sipp_find
    TERM=${TERM:-dumb} "${SIPP[@]}" -nostdin "$@" >"$log" 2>&1 </dev/null &
    SIPP_PID=$!
    disown "$SIPP_PID"
}
