# shellcheck shell=bash
# libvosk, the speech recogniser that capconduit-transcriber is linked to, out of its publisher's Python wheel.
#
#     vosk_ensure                 # target/lib/capconduit/libvosk.so, where every build in the checkout finds it
#     vosk_ensure /some/where     # /some/where/libvosk.so
#
# The wheel is kept in the cache directory; both it and the library are held to the checksums below.
# pip is asked for it, with whatever configuration pip has on this machine.

[ -z "${CAPCONDUIT_LIB_VOSK-}" ] || return 0
CAPCONDUIT_LIB_VOSK=1
# shellcheck source-path=SCRIPTDIR
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

VOSK_VERSION=0.3.45

# vosk_ensure [DIR]: see above. Fails with a message that says what to do.
vosk_ensure() {
    local directory=${1:-${CARGO_TARGET_DIR:-$REPO_ROOT/target}/lib/capconduit}
    local platform wheel_sum library_sum
    case $(uname -s)-$(uname -m) in
        Linux-x86_64)
            platform=x86_64
            wheel_sum=25e025093c4399d7278f543568ed8cc5460ac3a4bf48c23673ace1e25d26619f
            library_sum=85c4654de3acdeb99abab86eeb2a6e603927d37089597c0fcc33d8638dc2ccaf
            ;;
        Linux-aarch64)
            platform=aarch64
            wheel_sum=54efb47dd890e544e9e20f0316413acec7f8680d04ec095c6140ab4e70262704
            library_sum=0e9df29f060a93cf3df3263a4d3635e1b75688a5fd84e86ade1599372e3c9597
            ;;
        *) die "there is no libvosk $VOSK_VERSION for $(uname -s) on $(uname -m) to fetch" ;;
    esac
    ! vosk_has_sum "$directory/libvosk.so" "$library_sum" || return 0
    local cache
    cache=$(cache_dir)/vosk
    mkdir -p "$cache" "$directory"
    have python3 || apt_install python3
    vosk_wheel "$cache" "$platform" "$wheel_sum"

    # Beside its place, so that putting it there is one step.
    local new
    new=$(mktemp "$directory/.libvosk.XXXXXX")
    if ! python3 - "$VOSK_WHEEL" "$new" <<'PYTHON'; then
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    with wheel.open("vosk/libvosk.so") as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
        rm -f "$new"
        die "cannot unpack $VOSK_WHEEL: remove it and try again"
    fi
    if ! vosk_has_sum "$new" "$library_sum"; then
        rm -f "$new"
        die "libvosk.so in $VOSK_WHEEL is not the one expected: its checksum differs"
    fi
    chmod 755 "$new"
    mv -f "$new" "$directory/libvosk.so"
    say "libvosk $VOSK_VERSION is in $directory"
}

# vosk_wheel CACHE PLATFORM SUM: sets VOSK_WHEEL to the wheel, fetched unless it is there.
vosk_wheel() {
    local cache=$1 platform=$2 sum=$3 found work
    VOSK_WHEEL=
    for found in "$cache/vosk-$VOSK_VERSION-"*"_$platform.whl"; do
        if vosk_has_sum "$found" "$sum"; then
            VOSK_WHEEL=$found
            return
        fi
    done
    python_pip_ensure
    say "fetching libvosk $VOSK_VERSION"
    work=$(mktemp -d "$cache/.fetch.XXXXXX")
    if ! vosk_pip "$work" >"$work/log" 2>&1; then
        tail -n 5 "$work/log" >&2
        rm -rf "$work"
        die "pip could not fetch the wheel vosk $VOSK_VERSION; put it into $cache by hand and try again"
    fi
    found=$(find "$work" -name "vosk-$VOSK_VERSION-*_$platform.whl" -print -quit)
    if [ -z "$found" ] || ! vosk_has_sum "$found" "$sum"; then
        rm -rf "$work"
        die "the wheel vosk $VOSK_VERSION that pip fetched is not the one expected: its checksum differs"
    fi
    VOSK_WHEEL=$cache/${found##*/}
    mv -f "$found" "$VOSK_WHEEL"
    rm -rf "$work"
}

# vosk_pip DIR: fetches the wheel into DIR.
vosk_pip() {
    # Patient, but not for ever.
    timeout 300 python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps \
        --only-binary :all: --dest "$1" "vosk==$VOSK_VERSION"
}

# vosk_has_sum FILE SHA256
vosk_has_sum() {
    local sum
    [ -f "$1" ] || return 1
    sum=$(sha256sum <"$1") && [ "${sum%% *}" = "$2" ]
}
