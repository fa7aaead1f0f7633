#include "proxy/probe/asked_secret.h"

#include <utility>

#include "lib/base/log.h"
#include "lib/net/resolver.h"
#include "lib/session/credentials/secret_store.h"
#include "proxy/launcher/channel.h"

namespace starttls {

session::SecretAnswer ask_source(net::Loop& loop, const std::string& service,
                                 const LoginChoice& choice,
                                 std::optional<launcher::Process> launcher) {
  net::Resolver resolver(loop);
  session::NoPrograms none(loop);
  log::Logger log(log::Level::error, log::Format::text);  // the report has the warnings
  std::optional<launcher::Channel> channel;
  if (launcher) {
    // A launcher that ends answers the request, so the loop goes on until then.
    channel.emplace(loop, std::move(launcher->pair), log, [] {});
    if (auto opened = channel->open(); !opened) {
      return session::NoSecret{metrics::SecretFailure::unreachable,
                               Error{Errc::login, std::move(opened.error().reason)}};
    }
  }
  session::ProgramRunner& programs =
      channel ? static_cast<session::ProgramRunner&>(*channel) : none;
  session::SecretStore store(loop, resolver, programs);
  session::SecretAnswer answer = session::too_late();
  const auto ticket = store.ask(loop,
                                {.service = service,
                                 .account = choice.source_row,
                                 .user = choice.user,
                                 .user_is_fixed = true,
                                 .source = choice.source,
                                 .timeout = choice.timeout},
                                [&](session::SecretAnswer given) {
                                  answer = std::move(given);
                                  loop.stop();
                                });
  loop.run();
  return answer;
}

}  // namespace starttls
