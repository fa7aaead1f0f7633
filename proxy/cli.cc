#include "proxy/cli.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>

#include "lib/base/ascii.h"
#include "lib/config/schema.h"

namespace starttls {
namespace {

constexpr std::string_view kUsage =
    "Usage: starttls-proxy --config FILE [--check]\n"
    "       starttls-proxy --protocol NAME --listen ADDRESS --upstream ADDRESS [OPTION ...]\n"
    "       starttls-proxy probe --protocol NAME --upstream ADDRESS [OPTION ...] [--json]\n"
    "       starttls-proxy convert STUNNEL.CONF\n";

/// A heading of --help and the keys below it.
struct Group {
  std::string_view heading;
  std::string_view section;  ///< the section of the keys below it
};

constexpr Group kGroups[] = {
    {"One service without a file", "service"},
    {"Clients", "service.downstream"},
    {"Our certificate, where clients use TLS", "service.downstream.certificates"},
    {"Server", "service.upstream"},
    {"Our certificate, for servers that ask for one", "service.upstream.certificate"},
    {"Time-outs (such as 10s, 5m, 1h30m)", "timeouts"},
    {"Log", "log"},
    {"Metrics, health and sessions (HTTP)", "admin"},
    {"Process", "proxy"},
};

void append_option(std::string& out, std::string_view option, std::string_view help) {
  constexpr std::size_t kHelpColumn = 30;
  std::string line = "  " + std::string(option);
  line.resize(std::max(line.size() + 1, kHelpColumn), ' ');
  out += line + std::string(help) + "\n";
}

void append_group(std::string& out, const Group& group) {
  out += "\n" + std::string(group.heading) + ":\n";
  for (const auto& key : config::keys()) {
    if (key.flag.empty() || key.path.substr(0, key.path.rfind('.')) != group.section) continue;
    append_option(out, std::string(key.flag) + " " + std::string(key.operand), key.help);
  }
}

constexpr std::string_view kProbe = "probe";
constexpr std::string_view kConvert = "convert";
constexpr std::string_view kListen = "--listen";
constexpr std::string_view kUpstream = "--upstream";
constexpr std::string_view kOwnFlags[] = {"--config", "--check", "--json", "--help", "--version"};

auto usage_error(const std::string& what) {
  return fail(Errc::config, what + "\n" + std::string(kUsage) + "Try --help for the options.");
}

/// Returns the error for arguments that CLI11 could not place. `arguments` is not empty.
std::string unexpected(const std::vector<std::string>& arguments) {
  const auto flag = std::find_if(arguments.begin(), arguments.end(),
                                 [](const std::string& each) { return each.starts_with('-'); });
  if (flag == arguments.end())
    return "unexpected argument '" + ascii::escape(arguments.front()) + "'";
  return config::unknown_flag(*flag, kOwnFlags);
}

std::string missing_flags(const std::vector<config::Flag>& flags) {
  std::string missing;
  for (const auto& key : config::keys()) {
    if (!key.required || key.flag.empty()) continue;
    const bool given = std::any_of(flags.begin(), flags.end(), [&key](const config::Flag& flag) {
      return flag.name == key.flag;
    });
    if (!given) missing += (missing.empty() ? "" : ", ") + std::string(key.flag);
  }
  return missing;
}

/// The arguments as they were given. It is not checked yet that they go together.
struct Parsed {
  bool help = false;
  bool version = false;
  bool check = false;
  bool json = false;
  bool has_config = false;
  std::string config_file;
  std::vector<config::Flag> flags;
};

/// Returns the arguments as CLI11 wants them: the last one first. "--name=value" becomes two words,
/// because CLI11 loses a value that is empty.
std::vector<std::string> words_backwards(std::span<const std::string> arguments) {
  std::vector<std::string> words;
  for (const auto& argument : arguments) {
    const auto equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    words.push_back(argument.substr(0, equals));
    if (equals != std::string::npos) words.push_back(argument.substr(equals + 1));
  }
  std::reverse(words.begin(), words.end());
  return words;
}

Result<Parsed> parse(std::span<const std::string> arguments) {
  Parsed parsed;
  parsed.flags.reserve(config::keys().size());  // the parser keeps references into it
  try {
    CLI::App app;
    app.set_help_flag();
    app.allow_extras();
    app.add_flag("-h,--help", parsed.help);
    app.add_flag("--version", parsed.version);
    app.add_flag("--check", parsed.check);
    app.add_flag("--json", parsed.json);
    const auto* const config = app.add_option("--config", parsed.config_file)->type_name("FILE");
    for (const auto& key : config::keys()) {
      if (key.flag.empty()) continue;
      auto& flag = parsed.flags.emplace_back(config::Flag{std::string(key.flag), {}});
      app.add_option(flag.name, flag.values)
          ->expected(1)
          ->allow_extra_args(false)
          ->take_all()
          ->type_name(std::string(key.operand));
    }

    app.parse(words_backwards(arguments));
    if (const auto extras = app.remaining(); !extras.empty()) {
      return usage_error(unexpected(extras));
    }
    parsed.has_config = config->count() != 0;
  } catch (const CLI::Error& error) {
    return usage_error(ascii::printable(error.what()));
  }
  std::erase_if(parsed.flags, [](const config::Flag& flag) { return flag.values.empty(); });
  return parsed;
}

/// Reads the arguments after "probe". They describe a service that listens nowhere.
Result<CommandLine> parse_probe(std::span<const std::string> arguments) {
  using Action = CommandLine::Action;
  auto parsed = parse(arguments);
  if (!parsed) return fail(std::move(parsed.error()));
  if (parsed->help) return CommandLine{Action::help, {}, {}, false};
  if (parsed->version) return CommandLine{Action::version, {}, {}, false};
  if (parsed->has_config || parsed->check) {
    return usage_error(
        "probe takes its settings as options: --config and --check do not belong here");
  }
  auto& flags = parsed->flags;
  std::erase_if(flags, [](const config::Flag& flag) { return flag.name == kListen; });
  flags.push_back({std::string(kListen), {"127.0.0.1:0"}});
  if (const auto missing = missing_flags(flags); !missing.empty()) {
    return usage_error("to probe, this is missing: " + missing);
  }
  for (const auto& flag : flags) {
    if (flag.name == kUpstream && flag.values.size() > 1) {
      return usage_error("probe looks at one server at a time: give --upstream once");
    }
    if (flag.name == kUpstream && flag.values.front() == "original-destination") {
      return usage_error("probe is a client of its own: give --upstream the server's address");
    }
  }
  return CommandLine{Action::probe, {}, std::move(flags), parsed->json};
}

/// Reads the argument after "convert", the file.
Result<CommandLine> parse_convert(std::span<const std::string> arguments) {
  using Action = CommandLine::Action;
  if (arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h")) {
    return CommandLine{Action::help, {}, {}, false};
  }
  if (arguments.size() != 1 || arguments[0].empty() || arguments[0].starts_with('-')) {
    return usage_error("convert takes the name of one stunnel.conf");
  }
  return CommandLine{Action::convert, arguments[0], {}, false};
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
  using Action = CommandLine::Action;
  if (arguments.empty()) return usage_error("say what to do");
  if (arguments.front() == kProbe) return parse_probe(arguments.subspan(1));
  if (arguments.front() == kConvert) return parse_convert(arguments.subspan(1));
  auto parsed = parse(arguments);
  if (!parsed) return fail(std::move(parsed.error()));
  if (parsed->help) return CommandLine{Action::help, {}, {}, false};
  if (parsed->version) return CommandLine{Action::version, {}, {}, false};

  const auto& flags = parsed->flags;
  if (parsed->json) return usage_error("--json belongs to probe");
  if (parsed->has_config) {
    if (parsed->config_file.empty()) return usage_error("--config: the file's name is empty");
    if (!flags.empty()) {
      return usage_error("--config and " + flags.front().name +
                         " exclude each other: write the setting into the file");
    }
  } else if (const auto missing = missing_flags(flags); !missing.empty()) {
    return usage_error("without --config, this is missing: " + missing);
  }
  return CommandLine{parsed->check ? Action::check : Action::run, std::move(parsed->config_file),
                     std::move(parsed->flags), false};
}

std::string help_text() {
  std::string out =
      "starttls-proxy speaks TLS for the mail client or the mail server that cannot.\n\n";
  out += kUsage;
  out += "\n";
  append_option(out, "--config FILE", "take everything from this file (TOML)");
  append_option(out, "--check", "check the settings, print what they amount to, and exit");
  append_option(out, "probe", "say what a server offers, and whether the settings accept it");
  append_option(out, "  --json", "the same for programs");
  append_option(out, "convert STUNNEL.CONF",
                "print the same settings for us, and say what is lost");
  append_option(out, "--version", "print the versions of this program and its libraries");
  append_option(out, "-h, --help", "print this");
  for (const auto& group : kGroups) append_group(out, group);
  out +=
      "\nExit status: 0 after TERM or INT, 64 for a wrong command line, 69 where an address cannot "
      "be\nbound, 70 where memory is out or the program is wrong, 71 where the system refuses "
      "something\nelse, 74 where what was to be printed cannot be, 78 for a wrong configuration.\n"
      "Of probe: 0 the server is acceptable, 69 it cannot be reached, 76 it does "
      "not do what the\nprotocol and the settings want, 77 its TLS or its certificate is not "
      "acceptable.\n";
  return out;
}

}  // namespace starttls
