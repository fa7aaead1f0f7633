#pragma once

// Records a server's words while the protocol's own role conducts the prelude, for `starttls-proxy
// probe`.

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/capability_query.h"
#include "lib/proto/role.h"

namespace starttls {

/// The words of a server before STARTTLS, as they came.
struct Heard {
  std::string greeting;
  std::string capabilities;  ///< "" if the question for them was not asked or not answered
};

/// Returns the line that asks the server for its capabilities.
[[nodiscard]] std::string question(const proto::CapabilityQuery& query, std::string_view hostname);

/// True if `input` is a whole answer to the question. Errors: protocol, if it is too long.
[[nodiscard]] Result<bool> is_whole_answer(const proto::CapabilityQuery& query,
                                           std::string_view input);

/// A protocol's role, and a record of what it hears. If the role asks for STARTTLS straight after
/// the greeting, the question for the capabilities goes first: people want to see the list.
class RecordingRole final : public proto::UpstreamRole {
 public:
  /// Makes the role record into `heard`, which outlives it. A later connection to the server goes
  /// on with the same record.
  RecordingRole(std::unique_ptr<proto::UpstreamRole> role, const proto::CapabilityQuery& query,
                std::string_view hostname, Heard& heard);

  [[nodiscard]] Result<proto::Verdict> begin(std::string& to_server) override;
  [[nodiscard]] Result<proto::Step> step(std::string_view input, std::string& to_server) override;
  [[nodiscard]] Result<proto::Verdict> secured(std::string& to_server) override;
  [[nodiscard]] Result<proto::Verdict> on_quiet(std::string& to_server) override;
  [[nodiscard]] std::string_view state() const noexcept override;

 private:
  [[nodiscard]] Result<proto::Step> on_answer(std::string_view input, std::string& to_server);
  void record_words();
  void copy_results();

  std::unique_ptr<proto::UpstreamRole> role_;
  const proto::CapabilityQuery& query_;
  std::string question_;
  Heard& heard_;
  std::string words_;  // of the server, since the role last wrote
  bool is_greeted_ = false;
  bool role_has_asked_ = false;  // `words_` are the capabilities
  bool is_asking_ = false;       // we are asking, and the role's command waits
  bool is_secured_ = false;
  std::string held_;
  proto::Verdict held_verdict_ = proto::Verdict::need_more;
};

}  // namespace starttls
