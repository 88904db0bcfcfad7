#!/usr/bin/env bash
# Fuzzes each parser for a bounded time: scripts/fuzz.sh [seconds [target…]], 60 seconds each unless told.
# Builds Tests/Fuzz/*.c with libFuzzer and the address and undefined-behaviour sanitizers. llhttp and SHA-1 come
# from swift-nio's checkout, which `swift package resolve` makes when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly seconds="${1:-60}"
readonly out=.build/fuzz
readonly nio=.build/checkouts/swift-nio/Sources
readonly base_flags=(-std=gnu17 -g -O1 -fno-omit-frame-pointer)
# -fsanitize=function is left out: llhttp calls its span callbacks through one cast type.
readonly sanitizers=(-fsanitize=address,undefined -fno-sanitize=function -fno-sanitize-recover=all)
readonly includes=(-ICModules/CHeraldBase/include -ICModules/CHeraldWire/include -ICModules/CHeraldWire
    "-I$nio/CNIOLLHTTP/include" "-I$nio/CNIOSHA1/include")

fail() {
    printf 'fuzz: %s\n' "$*" >&2
    exit 1
}

# lld where there is one: gold floods the terminal about the sanitizer's own symbols.
linker=()
if command -v ld.lld >/dev/null || [ -x "$(dirname "$(command -v swift)")/ld.lld" ]; then linker=(-fuse-ld=lld); fi

# Whether compiler $1 has libFuzzer and the sanitizers, and its program runs.
can_fuzz() {
    local probe=$out/probe
    command -v "$1" >/dev/null || return 1
    echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { (void)b; (void)n; return 0; }' >"$probe.c"
    "$1" -fsanitize=fuzzer "${linker[@]}" "${sanitizers[@]}" "$probe.c" -o "$probe" 2>/dev/null \
        && "$probe" -runs=1 >/dev/null 2>&1
}

# Swift's clang first; Debian's when that comes without libFuzzer's runtime.
find_clang() {
    local candidate
    for candidate in clang clang-19 clang-16 clang-14; do
        if can_fuzz "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# Targets of joints take the whole core, parsers the lowest floors alone.
build() {
    local target=$1 sources=(CModules/CHeraldBase/*.c CModules/CHeraldWire/*.c) libraries=()
    if grep -q '"joint.h"' "Tests/Fuzz/$target.c"; then
        sources+=(CModules/CHeraldLog/*.c CModules/CHeraldNet/*.c CModules/CHeraldHub/*.c)
        mapfile -t libraries < <(pkg-config --libs libuv liburing openssl libnghttp2 | tr ' ' '\n' | grep .)
        libraries+=(-ICModules/CHeraldLog/include -ICModules/CHeraldNet/include -ICModules/CHeraldHub/include
            -ICModules/CHeraldHub)
    fi
    "$clang" "${base_flags[@]}" -Wall -Wextra -Werror "${linker[@]}" -fsanitize=fuzzer "${sanitizers[@]}" "${includes[@]}" \
        "Tests/Fuzz/$target.c" "${sources[@]}" "$out"/foreign/*.o "${libraries[@]}" -lz -o "$out/$target"
}

[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "usage: scripts/fuzz.sh [seconds [target…]]"
mkdir -p "$out/foreign"
[ -d "$nio" ] || swift package resolve
clang=$(find_clang) || fail "no clang with libFuzzer here; 'apt-get install clang' brings one"

# Foreign sources are built with the same sanitizers but none of our warnings.
for source in "$PWD/$nio"/CNIOLLHTTP/*.c "$PWD/$nio"/CNIOSHA1/*.c; do
    "$clang" "${base_flags[@]}" -w "${sanitizers[@]}" -fsanitize=fuzzer-no-link "${includes[@]}" -c "$source" \
        -o "$out/foreign/$(basename "$source" .c).o"
done

targets=("${@:2}")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(cd Tests/Fuzz && ls -- *.c | sed 's/\.c$//')
fi
for target in "${targets[@]}"; do
    build "$target"
    mkdir -p "$out/corpus/$target"
    echo "fuzz: $target for $seconds s"
    "$out/$target" -max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$out/$target-" "$out/corpus/$target" "Tests/Fuzz/corpus/$target" \
        || fail "$target failed; its input is in $out/$target-*"
done
