"""Security tests must be able to fail: takes one rule out of the daemon at a time, and expects red.

A mutant is one source file with a few texts replaced. It is compiled with the build's own command
(without optimiser) and linked instead of the program's object, or ahead of the static libraries,
whose member of the same name is then not pulled in. Then the tests that guard the rule run against it, in a process of their own. They
must report a failed assertion, with words that fit; an honest session must still succeed, so that
no daemon passes for "caught" that is merely broken. The same tests must be green without a mutant.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "e2e"
COMPILERS = 2
# What most sources include, parsed once for all mutants.
HEADERS = """algorithm array chrono functional map memory optional span string string_view utility variant vector
tl/expected.hpp fmt/format.h""".split()
DAEMONS = 4         # under test at a time; they mostly wait
TEST_DEADLINE = 30  # seconds one wait inside a test may take, here
LIMIT = 600         # seconds for a compiler or a selection of tests
ROUNDS = 3          # in which a test must turn red

HONEST = "prelude_attacks_test.AnyServer.test_honest_servers_pass"
ATTACKS = "prelude_attacks_test.AnyServer."
IMAP = "prelude_attacks_test.ImapServer."
OTHERS = "prelude_attacks_test.OtherServers."
CLIENTS = "prelude_attacks_test.Clients."
WARM = "warm_test.Warm."
BELIEVING = "proxy_protocol_test.Believing."
INTRUDER = "sandbox_test.Intruder.test_finds_other_files_calls_and_processes_closed"
INTRUDER_ON_CONTROL = "sandbox_test.Intruder.test_finds_them_closed_on_the_control_thread_too"

# What was read ahead of a handshake is no part of it, and still there afterwards.
KEEPS_THEM = ("  security_ = Security::handshaking;\n"
              "  const std::string waiting = input_.take();\n",
              "  security_ = Security::handshaking;\n  const std::string waiting;\n")

# What tests say when a session that must fail is one: the client was greeted.
GREETED = r"(Regex didn't match|instead of FIN).*(220|\* OK|\* PREAUTH|\+OK|200|IMPLEMENTATION)"


@dataclasses.dataclass
class Mutant:
    name: str       # the rule that is missing
    file: str       # from the project's root
    edits: list     # [(text that stands there exactly once, what takes its place), ...]
    killers: list   # names of tests; each must turn red
    because: str = GREETED  # what the failures must say, as a regular expression over lines


MUTANTS = [
    # The first two end by time-outs, and wait beside the others.
    Mutant("a command behind the client's STARTTLS is executed", "lib/session/leg.cc",
           [("if (!input_.empty() || stream_->has_pending_input()) {", "if (false) {"),
            KEEPS_THEM],
           ["injection_test.Injection.test_a_command_in_the_same_segment"],
           because=r"False is not true : b'220 2\.0\.0 Ready to start TLS"),
    Mutant("the client is greeted although the handshake or the certificate failed",
           "lib/session/upstream_opener.cc",
           [("  if (over_) return;\n",
             "  if (over_) return;\n"
             "  if ((error.code == Errc::certificate || error.code == Errc::handshake) &&\n"
             "      role_ != nullptr) {\n"
             "    report_opened();\n"
             "    return;\n"
             "  }\n")],
           [ATTACKS + "test_x1_to_x4_certificates"]),
    Mutant("no check for octets behind STARTTLS", "lib/session/leg.cc",
           [("if (!input_.empty() || stream_->has_pending_input()) {", "if (false) {"),
            KEEPS_THEM],
           [ATTACKS + "test_b2_b5_b6_b7_octets_behind_the_go_ahead",
            IMAP + "test_b3_b4_untagged_lines_behind_the_go_ahead"]),
    Mutant("octets read before the handshake are used after it", "lib/session/leg.cc",
           [("    case Security::handshaking:\n      step_handshake(bytes);",
             "    case Security::handshaking:\n"
             "      if (bytes.front() > std::byte{0x17}) {\n"  # a record may come in the same read
             "        const auto record = std::find(bytes.begin(), bytes.end(), std::byte{0x16});\n"
             "        const auto size = static_cast<std::size_t>(record - bytes.begin());\n"
             "        input_.append(as_text(bytes.first(size)));\n"
             "        bytes = bytes.subspan(size);\n"
             "        if (bytes.empty()) return;\n"
             "      }\n"
             "      step_handshake(bytes);")],
           [ATTACKS + "test_b9_plaintext_on_an_implicit_leg",
            ATTACKS + "test_b8_plaintext_ahead_of_the_server_hello"]),
    Mutant("after a failed handshake or certificate the session goes on in the clear",
           "lib/session/upstream_opener.cc",
           [("// --- Stages and deadlines", "thread_local bool in_the_clear = false;\n//"),
            ("  const TlsMode mode = target_.upstream().tls;\n",
             "  const TlsMode mode = in_the_clear ? TlsMode::none : target_.upstream().tls;\n"),
            ("role_settings(target_, target_.upstream().tls)",
             "role_settings(target_, in_the_clear ? TlsMode::none : target_.upstream().tls)"),
            ("  if (!another || time_left()",
             "  if (error.code == Errc::certificate || error.code == Errc::handshake) {\n"
             "    in_the_clear = true;\n"
             "  } else if (!another || time_left()"),
            ("  ++address_index_;\n", "  if (!in_the_clear) ++address_index_;\n")],
           [ATTACKS + "test_x1_to_x4_certificates",
            ATTACKS + "test_an_opportunistic_leg_does_not_fall_back_behind_a_handshake"]),
    Mutant("no name check", "lib/tls/verify.cc",
           [("if (!names_match(names, rule.reference)) {", "if (false) {")],
           [ATTACKS + "test_x1_to_x4_certificates"]),
    Mutant("no chain check", "lib/tls/verify.cc",
           [("  if (!trusted) {", "  if (false) {")],
           [ATTACKS + "test_x1_to_x4_certificates"]),
    Mutant("a PEM block that gives nothing is skipped", "lib/tls/pem.cc",
           [("  if (!block.fault.empty()) {\n", "  if (block.fault.empty() || true) return {};\n"
             "  {\n")],
           ["certificates_test.PemFiles.test_t3_a_block_that_gives_nothing_is_an_error"],
           because=r"0 != 78"),
    Mutant("others may read a private key", "lib/tls/pem.cc",
           [("  if ((mode & 0777U & ~kReadByOneGroup) != 0 || owner != 0) return false;\n",
             "  return true;\n")],
           ["tls_layer_test.Reloads.test_a_private_key_of_more_than_its_owner_is_refused_at_start"],
           because=r"0 != 78"),
    Mutant("any group may read a private key", "lib/tls/pem.cc",
           [("  return group == 0 || std::find(", "  return true || std::find(")],
           ["sandbox_test.User.test_a_group_that_only_the_starting_root_has_does_not_count"],
           because=r"!= 78"),
    Mutant("a chain may have any length", "lib/tls/verify.cc",
           [("  X509_VERIFY_PARAM_set_depth(param, kMaxDepth);\n", "")],
           ["certificates_test.Servers.test_s11_a_chain_has_a_limit"], because=r"AssertionError"),
    Mutant("no pin check", "lib/tls/verify.cc",
           [("if (!rule.pins.empty() && !has_pin(path, rule.pins)) {", "if (false) {")],
           ["certificates_test.Servers.test_pins"], because=r"AssertionError"),
    Mutant("peers may sign their handshake with SHA-1", "lib/tls/context.cc",
           [("      SSL_CTX_set_verify_algorithm_prefs(ctx.get(), kVerifySchemes, "
             "std::size(kVerifySchemes)) !=\n          1) {",
             "      ctx == nullptr) {")],
           ["tls_layer_test.OurHello.test_s11_no_signature_with_sha_1_is_offered",
            "tls_layer_test.AskedClients.test_s11_no_signature_with_sha_1_is_accepted"],
           because=r"Lists differ"),
    Mutant("old devices may use RSA key transport", "lib/tls/context.cc",
           [('ECDHE-RSA-AES256-SHA";', 'ECDHE-RSA-AES256-SHA:AES128-SHA";')],
           ["tls_layer_test.OldClients.test_t10_no_rsa_key_transport"], because=r"b'.* != b'"),
    Mutant("a client needs no certificate", "lib/tls/context.cc",
           [("  if (!roots) return std::nullopt;\n", "  if (!roots || ssl != nullptr) return std::nullopt;\n")],
           ["resumption_test.Resumption.test_not_where_the_policy_is_another"],
           because=r"False is not true"),
    Mutant("a session of one policy is resumed under another", "lib/tls/context.cc",
           [("  all.add(policy);\n", "  static_cast<void>(policy);\n")],
           ["resumption_test.Resumption.test_not_where_the_policy_is_another"],
           because=r"True is not false"),
    Mutant("a reply may come before its question", "lib/proto/line_upstream.cc",
           [("const bool nothing_due = spoke || step.verdict == Verdict::greeted;",
             "const bool nothing_due = false && spoke;")],
           [OTHERS + "test_n12_b12_replies_that_nobody_asked_for"]),
    Mutant("smtp: any 2xx is a yes", "lib/proto/smtp.cc",
           [("    if (reply.code == 220) {\n      state_ = State::tls;",
             "    if (reply.code / 100 == 2) {\n      state_ = State::tls;")],
           [OTHERS + "test_n2_only_one_code_is_a_yes"]),
    Mutant("nntp: any 2xx or 3xx is a yes", "lib/proto/status_line.cc",
           [("if (status.word == dialect_.tls_status) {", "if (!status.refusal) {")],
           [OTHERS + "test_n2_only_one_code_is_a_yes"]),
    Mutant("pop3: +OK is any word that begins like it", "lib/proto/pop3.cc",
           [('  const auto word = ascii::first_word(line);\n',
             '  const auto word = line.substr(0, line.starts_with("+O") ? 3 : 4);\n')],
           [OTHERS + "test_n10_what_only_looks_like_a_yes"]),
    Mutant("sieve: NO is a yes", "lib/proto/sieve.cc",
           [("      case ReplyKind::ok:\n        state_ = State::tls;",
             "      case ReplyKind::no:\n      case ReplyKind::ok:\n        state_ = State::tls;"),
            ("      case ReplyKind::no:\n        return stay_in_clear(std::move(refused));\n", "")],
           [OTHERS + "test_n2_only_one_code_is_a_yes"]),
    Mutant("imap: NO is a yes", "lib/proto/imap.cc",
           [('  if (response.is("OK")) {\n    state_ = State::tls;',
             '  if (!response.is("BAD")) {\n    state_ = State::tls;')],
           [IMAP + "test_n5_starttls_refused"]),
    Mutant("imap: PREAUTH is accepted, and the leg stays in the clear", "lib/proto/imap.cc",
           [("  if (settings_.upstream != TlsMode::opportunistic) return fail(std::move(why));\n", "")],
           [IMAP + "test_n7_preauth"]),
    Mutant("imap: PREAUTH is a greeting like any other", "lib/proto/imap.cc",
           [("  if (preauth) {\n", "  if (false) {\n")],
           [IMAP + "test_n7_preauth_and_a_yes_to_starttls_all_the_same"]),
    Mutant("imap: untagged data before TLS is relayed", "lib/proto/imap.cc",
           [("    dropped_octets_ += piece.raw.size();\n",
             "    dropped_octets_ += piece.raw.size();\n    notices_ += piece.raw;\n")],
           [IMAP + "test_t1_to_t20_untagged_data_before_tls_is_dropped",
            IMAP + "test_t22_b3_alerts_in_the_clear_reach_nobody"],
           because=r"7XiYhgS7|pwned"),
    Mutant("imap: capabilities in the clear count after TLS", "lib/proto/imap.cc",
           [("    dropped_octets_ += piece.raw.size();\n",
             "    dropped_octets_ += piece.raw.size();\n"
             '    if (response.is("CAPABILITY")) capabilities_ = response.rest;\n'),
            ("      capabilities_ = response.rest;\n    } else",
             "      if (capabilities_.empty()) capabilities_ = response.rest;\n    } else")],
           [IMAP + "test_t21_capabilities_in_the_clear_do_not_count"],
           because=r"CAPABILITY IDLE"),
    Mutant("imap: any tag will do, at any time", "lib/proto/imap.cc",
           [("if (response.tag == settings_.tag && !just_asked_) return {};",
             "if (!response.tag.empty()) return {};")],
           [IMAP + "test_b11_answers_before_the_question"]),
    Mutant("imap: tags can be guessed", "lib/session/upstream_opener.cc",
           [(".tag = random_token()};", '.tag = "a000000000001"};')],
           [IMAP + "test_b11_tags_are_random"], because=r"1 != 3"),
    Mutant("smtp: EHLO state is kept over TLS", "lib/proto/smtp.cc",
           [("    hello_due_ = true;\n", "")],
           [CLIENTS + "test_s1_after_tls_the_client_has_not_said_hello"],
           because="False is not true"),
    Mutant("smtp: commands pass before the client's TLS", "lib/proto/smtp.cc",
           [("return settings_.downstream == TlsMode::starttls && !secure_;", "return false;")],
           [CLIENTS + "test_n15_n16_smtp_commands_before_tls"], because="False is not true"),
    Mutant("imap: a literal is asked for before TLS", "lib/proto/imap.cc",
           [("  if (literal && !literal->waits) {",
             '  if (literal && literal->waits) to_client += "+ go on\\r\\n";\n'
             "  if (literal && !literal->waits) {")],
           [CLIENTS + "test_n14_p10_imap_logins_and_literals_before_tls"],
           because=r"False is not true : b'\+ go on"),
    Mutant("imap: what stands in a literal before TLS is a command", "lib/proto/imap.cc",
           [("  if (literal && !literal->waits) {", "  if (false && literal) {")],
           [CLIENTS + "test_n14_p10_imap_logins_and_literals_before_tls"],
           because=r"False is not true : b'canary-4711 BAD"),
    Mutant("a warm connection on which the server has spoken is given to a client",
           "lib/session/warm_pool.cc",
           [('{ lose("the server said something unasked"); }',
             '{ pool_.on_lost({}, opened_.server, "and kept"); }')],
           [WARM + "test_what_the_server_says_unasked_reaches_nobody"], because=r"Regex didn't match"),
    Mutant("a warm connection is given to a client unseen", "lib/session/warm_pool.cc",
           [("if (!opened_.leg->stream().is_quiet()) return std::nullopt;", "")],
           [WARM + "test_one_that_dies_at_the_last_moment_is_not_noticed"],
           because=r"Regex didn't match|unexpectedly found|Reset|Broken pipe"),
    Mutant("warm connections outlive their policy", "lib/session/warm_pool.cc",
           [("return service.config == service_->config &&\n         service.own_name",
             "return service.own_name"),
            ("service.upstream_tls == service_->upstream_tls;", "true;")],
           ["warm_test.Reload.test_of_another_policy_ends_them"], because=r"Regex didn't match.*220"),
    Mutant("a turn does all the handshakes there are", "lib/net/turn_budget.cc",
           [("return waiting_ == 0 && spent_ < kBudget;", "return true;")],
           ["storm_test.Storm.test_a_running_session_has_its_turn"],
           because=r"had to wait for all answered"),
    Mutant("R4: a signature is computed for a client that is gone", "lib/session/leg.cc",
           [("return lane_.side == Side::downstream && !hello_answered_ && stream_->is_over();", "return false;")],
           ["storm_test.HelloAndReset.test_r4_nothing_is_computed_for_clients_that_are_gone"],
           because=r"not less than"),
    Mutant("R4: handshakes of all services wait in one queue", "lib/net/turn_budget.cc",
           [("    : steps_(steps), lane_(lane), on_turn_", "    : steps_(steps), lane_{}, on_turn_"),
            ("  auto queue = steps.queues_.find(lane);", "  lane = {};\n  auto queue = steps.queues_.find(lane);")],
           ["storm_test.HelloAndReset.test_r4_the_other_service_waits_for_one_of_them"],
           because=r"not less than"),
    Mutant("what a client sent ahead of its handshake is logged", "lib/session/session_prelude.cc",
           [('  started.error().evidence = fmt::format("{} octets", client_.input().size());\n', "")],
           ["log_test.Secrets.test_of_commands_behind_starttls_in_the_clear"],
           because=r"a password is in the log"),
    Mutant("what a server says back to a client is logged", "lib/session/session_prelude.cc",
           [("    fail(without_echo(step.error()));", "    fail(step.error());")],
           ["log_test.Secrets.test_that_a_server_says_back"],
           because=r"a password is in the log"),
    Mutant("a PROXY header is believed whoever sends it", "lib/session/client_identity.cc",
           [("if (address_ && config::contains(downstream.proxy_protocol, mapped_octets(*address_))) {",
             "if (address_ && !downstream.proxy_protocol.empty()) {")],
           [BELIEVING + "test_a_header_of_somebody_else_ends_the_session"],
           because=r"b'221 '.* != \(b'421 '"),
    Mutant("a PROXY header that is due may be missing", "lib/session/client_identity.cc",
           [("    if (!step) return fail(Errc::not_allowed, step.error().reason, "
             "step.error().evidence);\n",
             "    if (!step) {\n      watch_.reset();\n      return std::size_t{0};\n    }\n")],
           [BELIEVING + "test_a_missing_header_ends_the_session"], because=r"b'220 '"),
    Mutant("whoever a balancer names is let in", "lib/session/client_identity.cc",
           [("  if (address_ && config::contains(settings.allow,",
             "  if (is_conveyed()) return {};\n"
             "  if (address_ && config::contains(settings.allow,")],
           [BELIEVING + "test_it_is_the_conveyed_client_that_is_allowed"], because=r"b'220 "),
    Mutant("one octet behind a PROXY header is lost", "lib/session/session_prelude.cc",
           [("  if (*consumed > 0) client_.consume(*consumed);\n",
             "  if (*consumed > 0) "
             "client_.consume(std::min(*consumed + 1, client_.input().size()));\n")],
           [BELIEVING + "test_the_clients_first_words_may_be_in_the_headers_segment",
            BELIEVING + "test_a_handshake_behind_a_header_at_every_split"],
           because=r"Regex didn't match|a ServerHello|ended after 0"),
    Mutant("a PROXY header goes out inside TLS", "lib/session/upstream_opener.cc",
           [("  leg_->write(preface_);\n",
             "  if (target_.upstream().tls != TlsMode::implicit) leg_->write(preface_);\n"),
            ("  const tls::Facts facts = leg.facts();\n",
             "  const tls::Facts facts = leg.facts();\n"
             "  if (role_ == nullptr) leg.write(preface_);\n")],
           ["proxy_protocol_test.Telling.test_a_line_tells_the_connections_addresses"],
           because=r"421 4\."),
    Mutant("a client certificate is told that nobody has verified", "lib/tls/engine.cc",
           [("facts_of_client(ssl.get(), settings.roots != nullptr && !link.rejection);",
             "facts_of_client(ssl.get(), true);")],
           ["proxy_protocol_test.Telling.test_a_block_tells_of_the_clients_tls"],
           because=r"TLS, and no certificate"),
    Mutant("a client has as many sessions as he likes", "lib/session/client_table.cc",
           [("at->second >= limit", "false")],
           ["limits_test.Sessions.test_one_client_has_so_many_sessions"], because=r"b'220 "),
    Mutant("a refusal is in the clear where TLS is due", "lib/session/session.cc",
           [("  const bool mute = ", "  const bool mute = false && ")],
           ["limits_test.Sessions.test_nothing_is_said_in_the_clear_where_tls_is_due",
            BELIEVING + "test_a_handshake_without_a_header_hears_nothing"], because=r"b'421 "),
    Mutant("it is ready while it drains", "proxy/admin_pages.cc",
           [("obstacles(draining_, ", "obstacles(false, ")],
           ["admin_test.Pages.test_it_answers_while_sessions_drain"], because=r"\(200, .*503"),
    Mutant("a daemon that redirects to itself goes round and round", "lib/session/loop_guard.cc",
           [("entry.loop_ = (end == End::accepted ? made_ : accepted_).contains(entry.path_);",
             "entry.loop_ = false;")],
           ["transparent_test.Loops.test_a_connection_that_comes_back_is_refused"],
           because=r"Regex didn't match.*comes from the proxy itself"),
    Mutant("the sandbox has no filter of system calls", "proxy/sandbox.cc",
           [('  if (::seccomp_load(filter.get()) != 0) return std::string{"seccomp filters"};\n', "")],
           [INTRUDER], because=r"'fork': 'success'"),
    Mutant("a loop may have an io_uring", "proxy/main.cc",
           [("  if (config.proxy.sandbox) {\n    if (auto forbidden = forbid_io_uring()",
             "  if (false) {\n    if (auto forbidden = forbid_io_uring()")],
           ["sandbox_test.NewerLibuv.test_p1_sessions_and_reloads_in_the_sandbox"],
           because=r"io_uring_enter|'1' != '2'"),
    Mutant("the sandbox has no rules for files", "proxy/sandbox.cc",
           [("if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {", "if (false) {")],
           [INTRUDER_ON_CONTROL], because=r"'read': 'success'"),
    Mutant("threads that serve sessions may open files", "proxy/worker.cc",
           [("    if (shared_.sandboxed) give_up_files();\n", "")],
           [INTRUDER], because=r"'shadow': 'success'"),
    Mutant("the sandbox lets every folder be read", "proxy/confinement.cc",
           [('  rules.add("/dev/null", FileUse::device);\n',
             '  rules.add("/dev/null", FileUse::device);\n  rules.add("/", FileUse::read);\n')],
           [INTRUDER_ON_CONTROL], because=r"'list': 'success'"),
    Mutant("S1: mail from anywhere passes if clients use TLS", "lib/config/exposure.cc",
           [("  return relays_mail(service.protocol) && !server_knows_client ? Exposure::relay : Exposure::none;",
             "  static_cast<void>(server_knows_client);\n"
             "  return relays_mail({}) ? Exposure::relay : Exposure::none;")],
           ["bad_input_test.Configuration.test_s1_an_open_relay_under_tls_is_refused_too"],
           because=r"0 != 78"),
    Mutant("S2: our certificate is lent to anyone", "lib/config/exposure.cc",
           [("  if (!up.certificate.chain.empty()) return Exposure::certificate;\n", "")],
           ["bad_input_test.Configuration.test_s2_a_certificate_that_anyone_could_use_is_refused"],
           because=r"0 != 78"),
    Mutant("S3: a path is taken before the start has succeeded", "proxy/server.cc",
           [("  if (auto confined = confine_(); !confined) return confined;\n",
             "  if (auto taken = take_over(*plan); !taken) return taken;\n"
             "  if (auto confined = confine_(); !confined) return confined;\n"),
            ("  if (auto taken = take_over(*plan); !taken) return taken;\n  listeners_.commit();",
             "  listeners_.commit();")],
           ["takeover_failures_test.LateFailures.test_s3_a_sandbox_that_cannot_be_entered",
            "takeover_failures_test.LateFailures.test_s3_another_one_is_quicker_to_listen"],
           because=r"Connection refused|ConnectionRefusedError"),
    Mutant("S4: a loopback listener answers in anyone's name", "proxy/admin.cc",
           [("return is_loopback ? proto::AdminHosts::literals : proto::AdminHosts::any;",
             "static_cast<void>(is_loopback);\n  return proto::AdminHosts::any;")],
           ["admin_test.Pages.test_s4_a_web_page_whose_name_leads_here_reads_nothing"],
           because=r"200.*421"),
    Mutant("a probe is not sandboxed", "proxy/main.cc",
           [("loops ? confine_probe(config) :", "loops ? Result<>() :")],
           ["sandbox_test.ConfinedProbe.test_s9_sandboxed_before_the_server_speaks",
            "sandbox_test.ConfinedProbe.test_s9_no_core_file_without_a_sandbox"],
           because=r"'1' != '2'|Max core file size"),
    Mutant("a user keeps root's groups", "proxy/user.cc",
           [('  if (::initgroups(user.name.c_str(), user.gid) != 0) '
             'return failed(user, "initgroups");\n  if (::setresgid', "  if (::setresgid"),
            ("  if (::geteuid() == 0) static_cast<void>(::initgroups(user.name.c_str(), user.gid));\n",
             "  static_cast<void>(user);\n")],
           ["sandbox_test.User.test_root_becomes_somebody_without_rights"],
           because=r"unexpectedly found|Lists differ"),
    Mutant("it is not checked that root is gone for good", "proxy/user.cc",
           [("  if (!is_for_good(user)) {\n", "  if (false && is_for_good(user)) {\n")],
           ["sandbox_test.User.test_s11_root_that_could_be_had_back_does_not_serve"],
           because=r"\(0, .* != \(71, "),
    Mutant("root gives away whatever is at a socket's path", "lib/net/listener.cc",
           [("  if (!S_ISSOCK(status.st_mode) || status.st_uid != ::geteuid() || status.st_nlink != 1) {\n",
             "  if (false) {\n")],
           ["sandbox_test.User.test_s11_root_gives_away_nothing_but_the_socket_it_has_made"],
           because=r"\d+ != \d+"),
    Mutant("a socket of another user's process is taken over", "lib/net/takeover.cc",
           [("  if (who.uid != ::geteuid() && ::geteuid() != 0) return false;\n", "")],
           ["takeover_failures_test.OtherUser.test_s11_the_same_program_of_another_user_keeps_its_socket"],
           because=r"\d+ != \d+"),
]


class Skipped(Exception):
    """Why a mutant cannot be tried here."""


class Broken(Exception):
    """Why a mutant proves nothing."""


def run(argv, **options):
    """The finished process, its output as one text; what takes too long ends with Broken."""
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, timeout=LIMIT,
                              check=False, **options)
    except subprocess.TimeoutExpired:
        raise Broken(f"{argv[0]} took more than {LIMIT} s") from None


def must(argv, **options):
    result = run(argv, **options)
    if result.returncode != 0:
        raise Broken(f"{shlex.join(map(str, argv))}\n{result.stdout[-3000:]}")
    return result.stdout


class Build:
    """The commands of a configured and built tree."""

    def __init__(self, folder, ninja):
        self.folder = folder
        self._headers = None
        self._slots = threading.Semaphore(COMPILERS)
        commands = json.loads((folder / "compile_commands.json").read_text())
        self._compile = {entry["file"]: shlex.split(entry["command"]) for entry in commands}
        # The last command makes the program: ": && c++ ... -o program ... && :".
        line = must([ninja, "-C", str(folder), "-t", "commands", "starttls-proxy"])
        line = line.rstrip("\n").rpartition("\n")[2]
        words = shlex.split(line)
        while words[:2] == [":", "&&"]:
            words = words[2:]
        while words[-2:] == ["&&", ":"]:
            words = words[:-2]
        self._link = words

    def _command(self, file, source, out):
        """As the build would compile `file`; quickly."""
        command = list(self._compile[str(ROOT / file)])
        command[command.index("-o") + 1] = str(out)
        command[command.index("-c") + 1] = str(source)
        return [*command, "-O0", "-g0", "-w", "-Wp,-U_FORTIFY_SOURCE"]

    def precompile(self, scratch):
        """The headers, with the flags of the library: what has others is compiled without."""
        self._headers = pathlib.Path(scratch) / "headers.h"
        self._headers.write_text("".join(f"#include <{name}>\n" for name in HEADERS))
        words = self._command("lib/base/log.cc", self._headers, f"{self._headers}.gch")
        words[words.index("-c"):words.index("-c")] = ["-x", "c++-header"]
        must(words, cwd=self.folder)

    def compile(self, file, source, out):
        """`source`, a changed copy of `file`."""
        with self._slots:
            must([*self._command(file, source, out), "-include", str(self._headers)], cwd=self.folder)

    def link(self, file, made, out):
        """The program with the object `made` instead of its own of `file`, ahead of all libraries."""
        own = self._compile[str(ROOT / file)]
        command = [word for word in self._link if word != own[own.index("-o") + 1]]
        command[command.index("-o") + 1] = str(out)
        first = next(i for i, word in enumerate(command) if word.endswith(".a"))
        with self._slots:
            must([*command[:first], str(made), *command[first:]], cwd=self.folder)


def mutate(mutant):
    """The text of the changed file."""
    text = (ROOT / mutant.file).read_text()
    for old, new in mutant.edits:
        count = text.count(old)
        if count != 1:
            raise Broken(f"{mutant.file} has this text {count} times instead of once; look there "
                         f"what has become of the rule, and bring tests/mutants up to date:\n{old}")
        text = text.replace(old, new)
    return text


def run_tests(daemon, names):
    """What unittest says of each of these tests against that daemon."""
    environment = {**os.environ, "STARTTLS_PROXY": str(daemon)}
    result = run([sys.executable, __file__, "--tests", *names], env=environment)
    reports = result.stdout.rpartition("\nREPORTS ")[2]
    try:
        return json.loads(reports)
    except json.JSONDecodeError:
        raise Broken(f"the tests did not run to their end:\n{result.stdout[-3000:]}") from None


def judge(mutant, daemon):
    must([str(daemon), "--version"])
    honest, *reports = run_tests(daemon, [HONEST, *mutant.killers])
    if honest["ran"] != 1 or honest["failures"] or honest["errors"]:
        raise Broken("not even an honest session succeeds with it: it is broken, and proves "
                     f"nothing\n{honest}")
    for killer, report in zip(mutant.killers, reports, strict=True):
        # What shows only where two events come in one order may take another round.
        for _ in range(ROUNDS - 1):
            if report["failures"] or report["skipped"]:
                break
            [report] = run_tests(daemon, [killer])
        if report["skipped"]:
            raise Skipped(report["skipped"][0])
        said = "\n".join(report["failures"])
        if not report["failures"]:
            raise Broken(f"{killer} is not red: it cannot see that this rule is missing\n{report}")
        if not re.search(mutant.because, said, re.S):
            raise Broken(f"{killer} is red, but not because of {mutant.because!r}:\n{said[-3000:]}")


def check(mutant, build, scratch):
    """None, or why the mutant was not caught."""
    started = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    try:
        source = folder / pathlib.Path(mutant.file).name
        source.write_text(mutate(mutant))
        build.compile(mutant.file, source, folder / "mutant.o")
        daemon = folder / "starttls-proxy"
        build.link(mutant.file, folder / "mutant.o", daemon)
        judge(mutant, daemon)
    except Skipped as reason:
        print(f"skip  {mutant.name}: {reason}", flush=True)
        return None
    except Broken as reason:
        print(f"FAIL  {mutant.name} ({mutant.file})\n      {reason}", flush=True)
        return mutant.name
    print(f"red   {mutant.name} ({time.monotonic() - started:.1f} s)", flush=True)
    return None


def check_green(names):
    """All that must be red with a mutant must be green without, or red would mean nothing."""
    reports = run_tests(os.environ["STARTTLS_PROXY"], names)
    skipped = 0
    for name, report in zip(names, reports, strict=True):
        skipped += bool(report["skipped"])
        if report["failures"] or report["errors"] or not (report["ran"] or report["skipped"]):
            raise Broken(f"{name}\n{json.dumps(report, indent=1)}")
    print(f"green {len(names) - skipped} tests without a mutant", flush=True)


def check_all(build, only):
    mutants = [mutant for mutant in MUTANTS if only in mutant.name]
    with (tempfile.TemporaryDirectory(prefix="starttls-mutants-") as scratch,
          concurrent.futures.ThreadPoolExecutor(DAEMONS) as pool):
        green = pool.submit(check_green, sorted({HONEST, *(killer for mutant in mutants
                                                           for killer in mutant.killers)}))
        build.precompile(scratch)
        checks = [pool.submit(check, mutant, build, scratch) for mutant in mutants]
        bad = [name for name in (each.result() for each in checks) if name]
        try:
            green.result()
        except Broken as reason:
            print(f"FAIL  without a mutant\n      {reason}", flush=True)
            bad.append("without a mutant")
    print(f"{len(mutants)} mutants, {len(bad)} failures")
    return 1 if bad or not mutants else 0


def tests_process(names):
    """In a process of its own: runs each of the tests up to its first failure, and reports."""
    import unittest  # pylint: disable=import-outside-toplevel

    sys.path.insert(0, str(TESTS))
    from support import wait  # pylint: disable=import-error,import-outside-toplevel
    wait.DEADLINE = TEST_DEADLINE  # ahead of the modules that take it for a default

    reports = []
    for name in names:
        result = unittest.TestResult()
        result.failfast = True
        unittest.defaultTestLoader.loadTestsFromName(name).run(result)
        reports.append({"ran": result.testsRun,
                        "failures": [said for _, said in result.failures],
                        "errors": [said for _, said in result.errors],
                        "skipped": [why for _, why in result.skipped]})
    print("\nREPORTS " + json.dumps(reports))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--ninja", default="ninja")
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    parser.add_argument("--tests", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tests:
        tests_process(arguments.tests)
        return 0
    os.environ.setdefault("STARTTLS_PROXY", str(arguments.build / "proxy" / "starttls-proxy"))
    os.environ.setdefault("STARTTLS_MAKE_PKI", str(arguments.build / "bench" / "pki" / "make-pki"))
    os.environ.setdefault("STARTTLS_BACKEND", str(arguments.build / "bench" / "backend" / "backend"))
    return check_all(Build(arguments.build.resolve(), arguments.ninja), arguments.only)


if __name__ == "__main__":
    sys.exit(main())
