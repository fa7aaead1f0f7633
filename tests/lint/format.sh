#!/bin/sh
# Every source file as .clang-format says. `clang-format -i FILE` puts one right.
set -eu
cd "$(dirname "$0")/../.."
find lib proxy bench tools tests -name '*.h' -print0 -o -name '*.cc' -print0 |
  xargs -0 clang-format --dry-run --Werror
