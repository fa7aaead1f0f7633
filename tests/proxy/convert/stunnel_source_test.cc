#include "proxy/convert/stunnel_source.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "lib/base/descriptor.h"
#include "lib/config/load.h"
#include "proxy/convert/converter.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using Catch::Matchers::ContainsSubstring;
using stunnel::read_source;

namespace {

std::string client_service(const std::string& name, const std::string& port) {
  return "[" + name + "]\nclient = yes\naccept = 127.0.0.1:" + port +
         "\nconnect = imap.example.com:993\nverifyChain = yes\ncheckHost = imap.example.com\n";
}

}  // namespace

TEST_CASE("convert: an included folder is read in its place, in the order of its names",
          "[convert]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("conf.d"));
  std::filesystem::create_directory(folder.file("conf.d/not-a-file"));
  folder.write("conf.d/b.conf", "b = 1");
  folder.write("conf.d/a.conf", "\xef\xbb\xbf; comment\r\na = 1\r\n");
  const auto path = folder.write("stunnel.conf", "first = 1\nInclude = conf.d\nlast = 1\n");
  const auto source = read_source(path);
  REQUIRE(source);
  CHECK(source->text == "first = 1\n; comment\na = 1\nb = 1\nlast = 1\n");
  CHECK(source->path == path);
  CHECK(source->place(1) == "line 1");
  CHECK(source->place(3) == folder.file("conf.d/a.conf") + ": line 2");
  CHECK(source->place(4) == folder.file("conf.d/b.conf") + ": line 1");
  CHECK(source->place(5) == "line 3");
  CHECK_FALSE(read_source(folder.file("missing")));
}

TEST_CASE("convert: a pipe is read, as a shell gives it for <(command)", "[convert]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const Descriptor out{ends[0]};
  Descriptor in{ends[1]};
  constexpr std::string_view kText = "a = 1\n";
  REQUIRE(::write(in.get(), kText.data(), kText.size()) == static_cast<ssize_t>(kText.size()));
  in.reset();
  const auto source = read_source("/dev/fd/" + std::to_string(out.get()));
  REQUIRE(source);
  CHECK(source->text == kText);
}

TEST_CASE("convert: an include that cannot be followed stays in the text", "[convert]") {
  const TemporaryFolder folder;
  const std::string rest = "[include]\n;include = conf.d\ninclude = " + folder.file("none") + "\n";
  const auto missing = read_source(folder.write("stunnel.conf", rest));
  REQUIRE(missing);
  CHECK(missing->text == rest);
  // A folder that includes itself ends.
  std::filesystem::create_directory(folder.file("loop"));
  const auto path = folder.write("loop/a.conf", "x = 1\ninclude = " + folder.file("loop") + "\n");
  const auto loop = read_source(path);
  REQUIRE(loop);
  CHECK(loop->included.size() == 8);
  CHECK_THAT(loop->text, ContainsSubstring("include = "));
}

TEST_CASE("convert: several files become one configuration", "[convert]") {
  const std::vector<stunnel::Source> files = {
      {.path = "a.conf",
       .text = "debug = 7\n" + client_service("mail", "1143") + "protocolHost = a.test\n"},
      {.path = "b.conf", .text = "debug = 4\nsetuid = x\n" + client_service("mail", "1143")},
      {.path = "c.conf", .text = client_service("mail", "1144") + "ciphers = x\n"}};
  const auto result = convert_stunnel(files);
  CHECK(result.sections == 3);
  CHECK(result.services == 2);
  CHECK(result.left_out == 1);
  REQUIRE(result.notes.size() == 5);
  CHECK_THAT(result.notes[0], ContainsSubstring("a.conf: line 8: [mail] protocolHost: "));
  CHECK_THAT(result.notes[1], ContainsSubstring("b.conf: line 1: debug: the log level of an"));
  CHECK_THAT(result.notes[2], ContainsSubstring("b.conf: line 2: setuid: "));
  CHECK_THAT(result.notes[3], ContainsSubstring("b.conf: line 5: [mail] accept: "));
  CHECK_THAT(result.notes[4], ContainsSubstring("c.conf: line 7: [mail] ciphers: "));
  CHECK_THAT(result.toml, ContainsSubstring("\n# From b.conf:\n# line 1: debug: "));

  config::Config config;
  const TemporaryFolder folder;
  constexpr std::string_view kProtocols[] = {"smtp", "imap"};
  CHECK(config::load_text(result.toml, folder.file("x.toml"), kProtocols, config).empty());
  REQUIRE(config.services.size() == 2);
  CHECK(config.services[0].name == "mail");
  CHECK(config.services[1].name == "mail-2");
}

TEST_CASE("convert: a note names the included file", "[convert]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("conf.d"));
  const auto included =
      folder.write("conf.d/a.conf", client_service("mail", "1143") + "oops = 1\n");
  const auto source = read_source(folder.write("stunnel.conf", "include = conf.d\n"));
  REQUIRE(source);
  const auto result = convert_stunnel({&*source, 1});
  CHECK(result.services == 1);
  REQUIRE(result.notes.size() == 1);
  const auto note = included + ": line 7: [mail] oops: is not a known option of stunnel 5";
  CHECK(result.notes.front() == source->path + ": " + note);
  CHECK_THAT(result.toml, ContainsSubstring("\n# " + note + "\n"));
}
