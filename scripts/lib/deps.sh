# Sourced by the scripts: what Debian packages are needed, from the one list in debian/control.
# shellcheck shell=bash

# deps_list build|check: package names; "check" adds those marked <!nocheck>.
deps_list() {
    awk -v want="$1" '
        /^Build-Depends:/ { on = 1; sub(/^Build-Depends:/, "") }
        on && /^[^ \t#]/ && !/^Build-Depends/ && NR > 1 && $0 !~ /^ / { on = 0 }
        on {
            n = split($0, part, ",")
            for (i = 1; i <= n; i++) {
                s = part[i]
                test_only = s ~ /<!nocheck>/
                gsub(/\([^)]*\)|<[^>]*>|[ \t]/, "", s)
                if (s != "" && (want == "check" || !test_only)) print s
            }
        }' "$top/debian/control"
}

deps_missing() {
    local p
    for p in $(deps_list "$1"); do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || echo "$p"
    done
}

# deps_install build|check: says what is missing, then installs it (with sudo unless root).
deps_install() {
    local missing sudo=()
    missing=$(deps_missing "$1" | tr '\n' ' ')
    if [ -z "$missing" ]; then
        return 0
    fi
    echo "Missing Debian packages: $missing"
    if ! command -v apt-get >/dev/null; then
        echo "There is no apt-get here: install the like of these packages by hand." >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "Run this as root once, or install sudo: apt-get install $missing" >&2
            return 1
        }
        sudo=(sudo)
    fi
    echo "Installing them now ..."
    "${sudo[@]}" apt-get update -qq
    # shellcheck disable=SC2086
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing </dev/null >"${TMPDIR:-/tmp}/waypost-apt.$$" 2>&1 || {
        cat "${TMPDIR:-/tmp}/waypost-apt.$$" >&2
        return 1
    }
    rm -f "${TMPDIR:-/tmp}/waypost-apt.$$"
}
