#include "lib/config/read_tables.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/read.h"
#include "lib/config/unknown.h"

namespace starttls::config {
namespace {

/// Reads a table with members that are keys of their own. The required ones are in `missing`.
void read_members(const Input& input, Output& target, std::vector<std::string_view> missing) {
  for (const auto& member : input.value.elements) {
    const std::string path = std::string(input.path) + "." + member.key;
    if (const Key* const key = find_key(path)) {
      key->read({path, member, input.source, input.findings}, target);
      std::erase(missing, member.key);
    } else {
      input.findings.add(member.key_place, unknown_key(path));
    }
  }
  for (const auto name : missing) {
    input.findings.add(input.value.place,
                       std::string(input.path) + "." + std::string(name) + ": is required");
  }
}

void read_chain_and_key(const Input& input, Output& target) {
  read_members(input, target, {"chain", "key"});
}

constexpr std::string_view kChainAndKey = R"({ chain = "a.pem", key = "a.key" })";

/// Reads one table of `certificates`.
void read_certificate(const Input& input, Output& target) {
  auto& all = target.service.downstream.certificates;
  all.emplace_back();
  read_chain_and_key(input, target);

  const auto& chain = all.back().chain;
  const auto earlier = std::find_if(all.begin(), all.end() - 1, [&chain](const ChainAndKey& each) {
    return each.chain == chain;
  });
  if (chain.empty() || earlier == all.end() - 1) return;
  const auto& members = input.value.elements;
  const auto written = std::find_if(members.begin(), members.end(),
                                    [](const Value& each) { return each.key == "chain"; });
  reject(input, "names " + shown(*written, chain) + " twice");
}

/// Reads an array of tables. `rows` gets one more for each, with members that are keys of their
/// own. `required` is the member that no row may lack.
template <class Row>
void read_rows(const Input& input, Output& target, std::vector<Row>& rows,
               std::string_view required) {
  if (input.value.kind != Value::Kind::list) {
    reject_kind(input, "an array of tables: write [[" + std::string(input.path) + "]]");
    return;
  }
  for (const auto& element : input.value.elements) {
    const Input one{input.path, element, input.source, input.findings};
    if (element.kind != Value::Kind::table) {
      reject_kind(one, "a table");
      continue;
    }
    rows.emplace_back();
    read_members(one, target, {required});
  }
}

}  // namespace

void read_certificates(const Input& input, Output& target) {
  if (input.value.kind != Value::Kind::list) {
    reject_kind(input, "a list such as [" + std::string(kChainAndKey) + "]");
    return;
  }
  for (const auto& element : input.value.elements) {
    const Input one{input.path, element, input.source, input.findings};
    if (element.kind == Value::Kind::table) {
      read_certificate(one, target);
    } else {
      reject_kind(one, "a table such as " + std::string(kChainAndKey));
    }
  }
}

void read_client_certificate(const Input& input, Output& target) {
  if (input.value.kind != Value::Kind::table) {
    reject_kind(input, "a table such as " + std::string(kChainAndKey));
  } else if (!input.value.elements.empty()) {
    read_chain_and_key(input, target);
  }
}

void read_destinations(const Input& input, Output& target) {
  read_rows(input, target, target.service.destinations, "networks");
}

void read_accounts(const Input& input, Output& target) {
  read_rows(input, target, target.service.accounts, "name");
}

}  // namespace starttls::config
