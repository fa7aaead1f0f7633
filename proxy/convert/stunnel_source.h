#pragma once

// Reads a stunnel.conf, and the files that it includes.

#include <cstddef>
#include <string>
#include <vector>

#include "lib/base/error.h"

namespace starttls::stunnel {

/// A stunnel.conf with the files of its `include` lines in their places.
struct Source {
  /// The place that a line of `text` is from.
  struct Place {
    std::size_t file = 0;  ///< index in `included`, from 1; 0 = the file itself
    std::size_t line = 0;
  };

  std::string path;  ///< printable
  std::string text;
  std::vector<std::string> included = {};  ///< paths, printable
  std::vector<Place> places = {};  ///< per line of `text`; empty: all are of the file itself

  /// Returns "line 7", or "conf.d/a.conf: line 7" for a line of an included file. Lines of `text`
  /// count from 1.
  [[nodiscard]] std::string place(std::size_t line) const;
};

/// Reads a file. An `include` names a folder (stunnel 5). All its files are read, in the order of
/// their names. A relative folder is relative to the file's own. An `include` that cannot be
/// followed stays in the text. Errors: config, if the file itself cannot be read.
[[nodiscard]] Result<Source> read_source(const std::string& path);

}  // namespace starttls::stunnel
