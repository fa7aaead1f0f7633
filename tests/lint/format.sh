#!/bin/sh
# Checks that every source file is formatted as .clang-format says. `clang-format -i FILE` corrects a file.
set -eu
cd "$(dirname "$0")/../.."
find lib proxy bench token tools tests -name '*.h' -print0 -o -name '*.cc' -print0 |
  xargs -0 clang-format --dry-run --Werror
