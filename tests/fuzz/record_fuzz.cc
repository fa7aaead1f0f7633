// Runs the record layer of TLS 1.3 against a peer that says anything, under the right keys or not.
//
// Input: byte 0 chooses suite, role, and when keys are renewed. Byte 1 is the size of the pieces.
// The rest is a list of steps: a byte that names the step, then the bytes that it needs. Every
// input is played twice, with the wire whole and in pieces. Both must have the same result.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/tls/raw_codec13.h"
#include "tests/fuzz/holds.h"
#include "tests/support/hand_keys.h"
#include "tests/support/record_cipher.h"

namespace {

using namespace starttls;
using test::HandKeys;
namespace content = test::content;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// Takes the input apart. Missing bytes are 0.
class Input {
 public:
  explicit Input(std::string_view rest) : rest_(rest) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  unsigned byte() {
    const auto taken = take(1);
    return taken.empty() ? 0 : static_cast<unsigned char>(taken[0]);
  }
  std::size_t number() {
    const std::size_t high = byte();
    return high << 8U | byte();
  }
  std::string_view take(std::size_t count) {
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view rest_;
};

/// One turn: the peer sends, then we do.
struct Turn {
  std::string wire;
  std::size_t seals = 0;
  bool closes = false;
};

struct Plan {
  std::uint16_t suite;
  bool client;
  bool good_tickets;
  std::uint64_t max_records;
  std::size_t piece;
  std::vector<Turn> turns;
  std::string data;  ///< of records with the right keys; nothing else may be delivered
};

enum Step : unsigned { data, inner, raw, tampered, key_update, ticket, seal, close };

/// The data that a receiver finds in a record with this content and this type. Zeros at the end are
/// padding, so with the type 0 it is the content that names the type (RFC 8446 section 5.4).
std::string_view data_of(std::string_view content, std::uint8_t type) {
  if (type != 0) return type == content::kData ? content : std::string_view{};
  const auto last = content.find_last_not_of('\0');
  if (last == std::string_view::npos) return {};
  return data_of(content.substr(0, last), static_cast<std::uint8_t>(content[last]));
}

Plan read_plan(std::string_view text) {
  Input in(text);
  const unsigned switches = in.byte();
  constexpr std::uint16_t kSuites[] = {test::kAes128Gcm, test::kAes256Gcm, test::kChaCha20};
  Plan plan{.suite = kSuites[(switches & 3U) % 3U],
            .client = (switches & 4U) != 0,
            .good_tickets = (switches & 8U) == 0,
            .max_records = (switches & 16U) != 0 ? 2U : 1000U,
            .piece = 1U + in.byte() * 37U,
            .turns = {},
            .data = {}};
  HandKeys peer(plan.suite, std::string(test::secret_size(plan.suite), 'r'));
  Turn turn;
  const auto send = [&](const std::string& content, std::uint8_t type, std::size_t padding) {
    if (content.size() + padding > 20000) return;
    turn.wire += peer.record(type, content, padding);
    plan.data += data_of(content, type);
  };
  while (!in.empty() && plan.turns.size() < 100) {
    const unsigned step = in.byte();
    const unsigned more = step >> 3U;
    switch (static_cast<Step>(step & 7U)) {
      case Step::data:  // long records need little input
        send(more == 31 ? std::string(in.number() % 17000, 'x') : std::string(in.take(more)),
             content::kData, more == 30 ? in.number() % 17000 : more % 3);
        break;
      case Step::inner: {
        const auto type = static_cast<std::uint8_t>(more < 8 ? 20 + more % 4 : in.byte());
        const std::size_t padding = more >= 30 ? in.number() % 17000 : 0;
        send(std::string(in.take(in.byte())), type, padding);
        break;
      }
      case Step::raw:
        turn.wire += in.take(1U + more);
        break;
      case Step::tampered: {
        std::string record = peer.data(in.take(more));
        auto& byte = record[in.byte() % record.size()];
        byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << (in.byte() % 8U)));
        turn.wire += record;
        break;
      }
      case Step::key_update:
        turn.wire += peer.key_update(more % 2U == 1U);
        break;
      case Step::ticket:
        send(test::new_session_ticket(more == 31 ? in.number() % 17000 : more), content::kHandshake,
             more % 3);
        break;
      case Step::seal:
        turn.seals = more == 31 ? in.number() : 1 + more;
        plan.turns.push_back(std::move(turn));
        turn = {};
        break;
      case Step::close:
        turn.closes = true;
        plan.turns.push_back(std::move(turn));
        turn = {};
        break;
    }
  }
  plan.turns.push_back(std::move(turn));
  return plan;
}

struct Outcome {
  std::string plain;
  std::string out;
  std::vector<std::string> tickets;
  bool close_notify = false;
  std::string error;

  bool operator==(const Outcome&) const = default;
};

class Play {
 public:
  Play(const Plan& plan, RecordCipher cipher) : plan_(plan) {
    const std::string read(test::secret_size(plan.suite), 'r');
    const std::string write(test::secret_size(plan.suite), 'w');
    tls::RawCodec13Options options{
        .pool = pool_, .cipher = cipher, .max_records = plan.max_records};
    if (plan.client) {
      options.on_ticket = [this](std::span<const std::byte> message) {
        HOLDS(message.size() >= 4 && message[0] == std::byte{4});
        outcome_.tickets.push_back(text(message));
        return plan_.good_tickets;
      };
    }
    const auto keys = [](const std::string& secret) {
      return tls::TrafficKeys{
          {reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size()}};
    };
    codec_ = tls::make_raw_codec13(plan.suite, keys(read), keys(write), std::move(options));
    HOLDS(codec_ != nullptr);
  }

  Outcome run(std::size_t piece) {
    for (const auto& turn : plan_.turns) {
      std::string_view wire = turn.wire;
      while (!wire.empty()) {
        const auto part = wire.substr(0, piece);
        wire.remove_prefix(part.size());
        feed(bytes(part));
      }
      if (turn.seals > 0) seal(turn.seals);
      if (turn.closes) close();
    }
    HOLDS(pool_.used_bytes() <= BufferPool::kBlockSize);
    codec_.reset();
    HOLDS(pool_.used_bytes() == 0);
    return std::move(outcome_);
  }

 private:
  void feed(std::span<const std::byte> part) {
    for (;;) {
      tls::WireOut out{out_room_};
      tls::OpenedRecords opened;
      const auto result = codec_->open(part, plain_, out, opened);
      HOLDS(opened.consumed <= part.size());
      HOLDS(opened.produced <= plain_.size());
      HOLDS(out.used <= 50);  // an alert
      // A codec that has failed or ended stays so, and delivers nothing.
      if (!outcome_.error.empty()) HOLDS(!result);
      if (outcome_.close_notify) HOLDS(result && opened.close_notify);
      if (!outcome_.error.empty() || outcome_.close_notify) {
        HOLDS(opened.produced == 0 && opened.consumed == 0 && out.used == 0);
        return;
      }
      part = part.subspan(opened.consumed);
      outcome_.plain += text(plain_.first(opened.produced));
      outcome_.out += text(out.written());
      outcome_.close_notify = opened.close_notify;
      if (!result) outcome_.error = result.error().reason;
      if (!result || opened.close_notify) return;
      HOLDS(part.empty() || opened.consumed > 0);
      if (part.empty()) return;
    }
  }

  void seal(std::size_t size) {
    const std::string plain(size, 's');
    std::vector<std::byte> room(tls::sealed_size_bound(size));
    tls::WireOut out{room};
    const bool done = codec_->seal(bytes(plain), out).has_value();
    HOLDS(done == (outcome_.error.empty() && !closed_));
    if (!done) HOLDS(out.used == 0);
    outcome_.out += text(out.written());
  }

  void close() {
    std::vector<std::byte> room(100);
    tls::WireOut out{room};
    codec_->close(out);
    if (!outcome_.error.empty() || closed_) HOLDS(out.used == 0);
    closed_ = true;
    outcome_.out += text(out.written());
  }

  static std::span<std::byte> plain_room() {
    static std::vector<std::byte> room(3 * tls::kMinPlainRoom);
    return room;
  }

  const Plan& plan_;
  BufferPool pool_;
  std::span<std::byte> plain_ = plain_room();
  std::vector<std::byte> out_room_ = std::vector<std::byte>(1000);
  Outcome outcome_;
  bool closed_ = false;
  std::unique_ptr<tls::RecordCodec> codec_;
};

/// Opens our output as the peer does. Every record must be good, and nothing may follow an alert.
void judge_output(const Plan& plan, std::string_view wire) {
  HandKeys ours(plan.suite, std::string(test::secret_size(plan.suite), 'w'));
  std::uint64_t records = 0;
  bool ended = false;
  while (!wire.empty()) {
    const auto record = ours.open(wire);
    HOLDS(record);
    HOLDS(!ended);
    switch (record->type) {
      case content::kData:
        HOLDS(!record->content.empty() && record->content.size() <= tls::kMaxRecordPlain);
        HOLDS(++records <= plan.max_records);
        break;
      case content::kAlert:
        HOLDS(record->content.size() == 2);
        ended = true;
        break;
      case content::kHandshake:
        HOLDS(record->content == std::string("\x18\0\0\1\0", 5));
        ours.update();
        records = 0;
        break;
      default:
        HOLDS(false);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  if (size < 3 || size > 100'000) return 0;
  const auto plan = read_plan({reinterpret_cast<const char*>(input), size});
  const auto whole = Play(plan, RecordCipher::library).run(SIZE_MAX / 2);
  HOLDS(plan.data.starts_with(whole.plain));
  HOLDS(whole.error.empty() || !whole.close_notify);
  judge_output(plan, whole.out);
  // In pieces, and with the other cipher if there is one.
  const auto pieces = Play(plan, test::record_cipher()).run(plan.piece);
  HOLDS(whole == pieces);
  return 0;
}
