#include "proxy/cli.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>

#include "lib/base/ascii.h"
#include "lib/config/schema.h"
#include "lib/config/unknown.h"

namespace starttls {
namespace {

constexpr std::string_view kUsage =
    "Usage: starttls-proxy --config FILE [--check [--json]]\n"
    "       starttls-proxy --protocol NAME --listen ADDRESS --upstream ADDRESS\n"
    "                      [OPTION ...] [--check [--json]]\n"
    "       starttls-proxy probe --protocol NAME --upstream ADDRESS [OPTION ...]\n"
    "                      [--login USER --login-file FILE] [--json]\n"
    "       starttls-proxy probe --config FILE [--service NAME] [--login [ACCOUNT]]\n"
    "                      [--json]\n"
    "       starttls-proxy convert [--strict] STUNNEL.CONF...\n"
    "       starttls-proxy --help | --version\n";

constexpr std::string_view kExamples =
    "Examples:\n"
    "  Let a scanner without TLS send mail through a server that requires TLS:\n"
    "    starttls-proxy --protocol smtp --listen 192.168.1.10:2525 \\\n"
    "      --upstream smtp.example.com:587 --allow 192.168.1.0/24\n"
    "  Check a configuration file before a reload:\n"
    "    starttls-proxy --config /etc/starttls-proxy/starttls-proxy.toml --check\n"
    "  See if the settings accept a server, and what it offers:\n"
    "    starttls-proxy probe --protocol imap --upstream imap.example.com:143\n"
    "  See if the server accepts the login of a service:\n"
    "    starttls-proxy probe --config starttls-proxy.toml --service office --login\n";

constexpr std::string_view kExitStatus =
    "Exit status:\n"
    "  0   success; also after TERM or INT\n"
    "  64  the command line is wrong\n"
    "  69  an address cannot be bound\n"
    "  70  memory has run out, or the program has a bug\n"
    "  71  the system refuses something else that the process needs\n"
    "  74  the output of the command cannot be written\n"
    "  78  the configuration is wrong, or a file that it names\n"
    "Exit status of probe:\n"
    "  0   the settings accept the server, and the server the login\n"
    "  69  the server cannot be reached, or is silent\n"
    "  76  the server does not do what the protocol and the settings require\n"
    "  77  the server's TLS or its certificate is not acceptable, or it refuses\n"
    "      the login\n";

constexpr std::string_view kManual =
    "Manual: `man starttls-proxy` for the program, `man starttls-proxy.toml` for the\n"
    "configuration file.\n";

/// A heading of --help and the keys below it.
struct Group {
  std::string_view heading;
  std::string_view section;  ///< the section of the keys below it
};

constexpr Group kGroups[] = {
    {"One service without a file", "service"},
    {"Clients", "service.downstream"},
    {"Our certificate, if clients use TLS", "service.downstream.certificates"},
    {"Server", "service.upstream"},
    {"Our certificate, for servers that ask for one", "service.upstream.certificate"},
    {"Time-outs (such as 10s, 5m, 1h30m)", "timeouts"},
    {"Log", "log"},
    {"Metrics, health and sessions (HTTP)", "admin"},
    {"Process", "proxy"},
};

/// Appends an option and its help. The help is wrapped at words. It begins on the next line if the
/// option is too long for its column.
void append_option(std::string& out, std::string_view option, std::string_view help) {
  constexpr std::size_t kHelpColumn = 30;
  constexpr std::size_t kWidth = 80;
  std::string line = "  " + std::string(option);
  if (line.size() >= kHelpColumn) {
    out += line + "\n";
    line.clear();
  }
  line.resize(kHelpColumn, ' ');
  while (!help.empty()) {
    const auto word = help.substr(0, help.find(' '));
    const bool first = line.size() == kHelpColumn;
    if (!first && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line.assign(kHelpColumn, ' ');
      continue;
    }
    if (!first) line += ' ';
    line += word;
    help.remove_prefix(std::min(help.size(), word.size() + 1));
  }
  out += line + "\n";
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
constexpr std::string_view kStrict = "--strict";
constexpr std::string_view kHelp = "help";
constexpr std::string_view kListen = "--listen";
constexpr std::string_view kAllow = "--allow";
constexpr std::string_view kUpstream = "--upstream";
constexpr std::string_view kService = "--service";
constexpr std::string_view kLogin = "--login";
constexpr std::string_view kLoginFile = "--login-file";
constexpr std::string_view kLoginToken = "--login-token";
constexpr std::string_view kOwnFlags[] = {"--config", "--check",   "--json",
                                          "--help",   "--version", kService,
                                          kLogin,     kLoginFile,  kLoginToken};

auto usage_error(const std::string& what) {
  return fail(Errc::config, what + "\n" + std::string(kUsage) +
                                "`starttls-proxy --help` lists the options and shows examples.");
}

/// Returns the error for arguments that CLI11 could not place. `arguments` is not empty.
std::string unexpected(const std::vector<std::string>& arguments, bool has_config) {
  const auto flag = std::find_if(arguments.begin(), arguments.end(),
                                 [](const std::string& each) { return each.starts_with('-'); });
  if (flag != arguments.end()) return config::unknown_flag(*flag, kOwnFlags);
  const std::string shown = ascii::escape(arguments.front());
  std::string text = "unexpected argument '" + shown + "'";
  if (!has_config && shown.ends_with(".toml")) text += ": did you mean '--config " + shown + "'?";
  return text;
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
  std::string service;
  LoginOptions login;
  std::string_view of_probe = {};  ///< an option that only a probe has; "" = none is given
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
    app.add_flag("-V,--version", parsed.version);
    app.add_flag("--check", parsed.check);
    app.add_flag("--json", parsed.json);
    const auto* const config = app.add_option("--config", parsed.config_file)->type_name("FILE");
    const auto add_text = [&app](std::string_view name, std::string& value) {
      return app.add_option(std::string(name), value)->expected(1)->allow_extra_args(false);
    };
    const auto* const service = add_text(kService, parsed.service);
    const auto* const login = add_text(kLogin, parsed.login.account)->expected(0, 1);
    const auto* const login_file = add_text(kLoginFile, parsed.login.file);
    app.add_flag(std::string(kLoginToken), parsed.login.token);
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
    parsed.has_config = config->count() != 0;
    parsed.login.wanted = login->count() != 0;
    if (service->count() != 0) parsed.of_probe = kService;
    if (parsed.login.token) parsed.of_probe = kLoginToken;
    if (login_file->count() != 0) parsed.of_probe = kLoginFile;
    if (parsed.login.wanted) parsed.of_probe = kLogin;
    if (const auto extras = app.remaining(); !extras.empty()) {
      return usage_error(unexpected(extras, parsed.has_config));
    }
  } catch (const CLI::Error& error) {
    return usage_error(ascii::printable(error.what()));
  }
  std::erase_if(parsed.flags, [](const config::Flag& flag) { return flag.values.empty(); });
  return parsed;
}

/// Checks that a file has all settings.
Result<> check_config_alone(const Parsed& parsed) {
  if (parsed.config_file.empty()) return usage_error("--config: the name of the file is empty");
  if (!parsed.flags.empty()) {
    return usage_error("--config and " + parsed.flags.front().name +
                       " cannot be used together: write the setting into the file");
  }
  return {};
}

/// Checks the flags that describe the service of a probe, which listens nowhere.
Result<> check_probe_flags(std::vector<config::Flag>& flags) {
  std::erase_if(
      flags, [](const config::Flag& flag) { return flag.name == kListen || flag.name == kAllow; });
  flags.push_back({std::string(kListen), {"127.0.0.1:0"}});
  if (const auto missing = missing_flags(flags); !missing.empty()) {
    return usage_error("for a probe, these options are missing: " + missing);
  }
  for (const auto& flag : flags) {
    if (flag.name == kUpstream && flag.values.size() > 1) {
      return usage_error("probe connects to one server at a time: give --upstream once");
    }
    if (flag.name == kUpstream && flag.values.front() == "original-destination") {
      return usage_error(
          "a probe has no client that chose a server: give --upstream the server's address");
    }
  }
  return {};
}

/// Checks the options of a probe's login. Without a file of settings, they must say everything.
Result<> check_login_options(const Parsed& parsed) {
  const auto& login = parsed.login;
  if (!login.wanted && parsed.of_probe != kService && !parsed.of_probe.empty()) {
    return usage_error(std::string(parsed.of_probe) + " needs " + std::string(kLogin));
  }
  if (!login.wanted || parsed.has_config) return {};
  if (login.account.empty()) return usage_error("--login needs the name of the account");
  if (login.file.empty()) {
    return usage_error(
        "--login needs --login-file, the name of a file with the secret ('-' is standard input)");
  }
  return {};
}

/// Reads the arguments after "probe". They name a service of a file, or describe one.
Result<CommandLine> parse_probe(std::span<const std::string> arguments) {
  using Action = CommandLine::Action;
  auto parsed = parse(arguments);
  if (!parsed) return fail(std::move(parsed.error()));
  if (parsed->help) return CommandLine{Action::help, {}, {}, false};
  if (parsed->version) return CommandLine{Action::version, {}, {}, false};
  if (parsed->check) return usage_error("probe does not take --check");
  if (parsed->has_config) {
    if (const auto alone = check_config_alone(*parsed); !alone) return fail(alone.error());
  } else {
    if (!parsed->service.empty()) return usage_error("--service needs --config");
    if (const auto whole = check_probe_flags(parsed->flags); !whole) return fail(whole.error());
  }
  if (const auto login = check_login_options(*parsed); !login) return fail(login.error());
  return CommandLine{Action::probe, std::move(parsed->config_file), std::move(parsed->flags),
                     parsed->json,  std::move(parsed->service),     std::move(parsed->login)};
}

/// Reads the arguments after "convert": the files, perhaps with --strict.
Result<CommandLine> parse_convert(std::span<const std::string> arguments) {
  using Action = CommandLine::Action;
  if (arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h")) {
    return CommandLine{Action::help, {}, {}, false};
  }
  if (arguments.size() == 1 && (arguments[0] == "--version" || arguments[0] == "-V")) {
    return CommandLine{Action::version, {}, {}, false};
  }
  CommandLine line{Action::convert, {}, {}, false};
  bool only_files = true;
  for (const auto& each : arguments) {
    if (each == kStrict) {
      line.strict = true;
      continue;
    }
    if (each.empty() || each.starts_with('-')) only_files = false;
    line.files.push_back(each);
  }
  if (line.files.empty() || !only_files) {
    return usage_error("convert takes --strict, the names of files of stunnel, and nothing else");
  }
  return line;
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
  using Action = CommandLine::Action;
  if (arguments.empty()) {
    return usage_error(
        "there are no settings: give --config, or --protocol, --listen and --upstream");
  }
  if (arguments.front() == kHelp) return CommandLine{Action::help, {}, {}, false};
  if (arguments.front() == kProbe) return parse_probe(arguments.subspan(1));
  if (arguments.front() == kConvert) return parse_convert(arguments.subspan(1));
  auto parsed = parse(arguments);
  if (!parsed) return fail(std::move(parsed.error()));
  if (parsed->help) return CommandLine{Action::help, {}, {}, false};
  if (parsed->version) return CommandLine{Action::version, {}, {}, false};

  const auto& flags = parsed->flags;
  if (parsed->json && !parsed->check) return usage_error("--json needs --check or probe");
  if (!parsed->of_probe.empty()) {
    return usage_error(std::string(parsed->of_probe) + " needs probe");
  }
  if (parsed->has_config) {
    if (const auto alone = check_config_alone(*parsed); !alone) return fail(alone.error());
  } else if (const auto missing = missing_flags(flags); !missing.empty()) {
    return usage_error("without --config, these options are missing: " + missing);
  }
  return CommandLine{parsed->check ? Action::check : Action::run, std::move(parsed->config_file),
                     std::move(parsed->flags), parsed->json};
}

std::string help_text() {
  std::string out = "starttls-proxy adds TLS to a mail client or a mail server that lacks it.\n\n";
  out += kUsage;
  out += "\n";
  out += kExamples;
  out += "\n";
  append_option(out, "--config FILE", "serve as this file says (TOML)");
  append_option(out, "--check", "check the settings, describe them, and exit");
  append_option(out, "probe", "show what a server offers, and if the settings accept it");
  append_option(out, "--service NAME",
                "for probe with --config: the service, if there are several");
  append_option(out, "--login [ACCOUNT]",
                "for probe: log in once, as an account of the file, or as a user of the server");
  append_option(out, "--login-file FILE",
                "for probe: the secret is this file's first line ('-' = standard input)");
  append_option(out, "--login-token", "for probe: the secret is an OAuth access token");
  append_option(out, "--json", "print JSON, for --check and for probe");
  append_option(out, "convert STUNNEL.CONF...",
                "print the same settings for this program, and note what has no counterpart; with "
                "--strict, fail if a service is left out");
  append_option(out, "-V, --version", "print the versions of this program and its libraries");
  append_option(out, "-h, --help", "print this text");
  for (const auto& group : kGroups) append_group(out, group);
  out += "\n";
  out += kExitStatus;
  out += "\n";
  out += kManual;
  return out;
}

}  // namespace starttls
