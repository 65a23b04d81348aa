#!/usr/bin/env bash
# Installs what the build needs, from the distribution's packages. Quiet, and nothing to do when it
# is all there.
#
#   tools/setup.sh         what building, testing and using needs
#   tools/setup.sh --dev   that, and what .ci/run needs besides: clang, clang-format, npm,
#                          valgrind
#
# On a system without apt-get it installs nothing and says what is missing.
set -euo pipefail

# How to find a thing, and the Debian package that has it.
readonly NEEDED='
command  bazel              bazel-bootstrap
command  g++                g++
command  pkg-config         pkg-config
module   absl_status        libabsl-dev
module   benchmark          libbenchmark-dev
module   CLI11              libcli11-dev
module   fmt                libfmt-dev
module   gmock              libgmock-dev
module   gtest              libgtest-dev
module   nlohmann_json      nlohmann-json3-dev
module   zlib               zlib1g-dev
file     /usr/share/javascript/chart.js/chart.min.js  libjs-chart.js
'
readonly NEEDED_FOR_DEVELOPMENT='
command  clang              clang
command  clang-format       clang-format
command  git                git
command  npm                npm
command  python3            python3
command  valgrind           valgrind
clang_rt fuzzer             libclang-rt-14-dev
'

is_there() {
  case "$1" in
    command) command -v "$2" >/dev/null ;;
    file) [ -e "$2" ] ;;
    module) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
    clang_rt)
      command -v clang >/dev/null &&
        compgen -G "$(clang -print-resource-dir)/lib/linux/libclang_rt.$2-*.a" >/dev/null
      ;;
  esac
}

# Prints the packages of what is not there.
missing_packages() {
  local kind what package
  while read -r kind what package; do
    [ -z "$kind" ] || is_there "$kind" "$what" || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "setup.sh: root is needed for: $*" >&2
    exit 1
  fi
}

needed=$NEEDED
case "${1:-}" in
  '') ;;
  --dev) needed+=$NEEDED_FOR_DEVELOPMENT ;;
  *)
    echo "setup.sh: unknown argument '$1'; it takes --dev or nothing" >&2
    exit 2
    ;;
esac

mapfile -t packages < <(missing_packages <<<"$needed")
[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup.sh: this system has no apt-get. Install by its own means what Debian calls:" >&2
  printf '  %s\n' "${packages[@]}" >&2
  exit 1
fi

echo "setup.sh: installing ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { as_root apt-get update -qq &&
  as_root apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "setup.sh: apt-get could not install ${packages[*]}" >&2
  exit 1
fi

mapfile -t packages < <(missing_packages <<<"$needed")
if [ ${#packages[@]} -gt 0 ]; then
  echo "setup.sh: still missing after the installation: ${packages[*]}" >&2
  exit 1
fi
