#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

#include "tests/support/catch.h"

namespace starttls {

/// A folder that is removed at the end, with everything in it.
struct TemporaryFolder {
  TemporaryFolder() : path((std::filesystem::temp_directory_path() / "starttls-XXXXXX").string()) {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path); }

  [[nodiscard]] std::string file(std::string_view name) const {
    return path + "/" + std::string{name};
  }
  /// Returns the path of the file, which is made or replaced.
  std::string write(std::string_view name, std::string_view content, ::mode_t mode = 0600) const {
    std::string where = file(name);
    std::ofstream(where, std::ios::binary) << content;
    REQUIRE(::chmod(where.c_str(), mode) == 0);
    return where;
  }
  /// Writes readable files with these names. Their content does not matter.
  void fill(std::initializer_list<std::string_view> names) const {
    for (const auto name : names) write(name, "x");
  }

  std::string path;
};

}  // namespace starttls
