#pragma once

// The facts about clients' TLS. They outlive the library's object of a connection, which is freed
// after most handshakes.

#include <compare>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace starttls::tls {

/// Facts about a client's TLS, and about the server that it asks for. They are for that server and
/// for the log.
struct ClientFacts {
  std::string server_name;       ///< SNI as it was sent; "" = none
  std::string alpn;              ///< as negotiated; "" = none
  std::string cipher;            ///< as OpenSSL calls it: "ECDHE-RSA-AES128-GCM-SHA256"
  bool has_certificate = false;  ///< one that was verified
  std::string common_name;       ///< of that certificate, UTF-8; "" unless it has exactly one
  std::string subject;           ///< of that certificate, not escaped: see `leaf_subject_utf8`

  friend auto operator<=>(const ClientFacts&, const ClientFacts&) = default;
};

/// Stores the facts about the clients of one Context. Equal facts are stored once, so an idle
/// session costs a pointer. Facts are dropped with the last session that has them. Thread-safe.
class ClientFactsStore {
  struct Uses {
    ClientFactsStore* store;
    std::size_t count;
  };
  using Entry = std::map<ClientFacts, Uses>::value_type;
  struct Release {
    void operator()(Entry* entry) const noexcept { entry->second.store->release(*entry); }
  };

 public:
  /// Facts in the store, for one session. The store outlives it.
  class Shared {
   public:
    Shared() = default;
    /// Returns the facts; empty ones if there are none.
    [[nodiscard]] const ClientFacts& get() const noexcept;

   private:
    friend class ClientFactsStore;
    explicit Shared(Entry* entry) noexcept : entry_(entry) {}

    std::unique_ptr<Entry, Release> entry_;
  };

  ClientFactsStore() = default;
  ClientFactsStore(const ClientFactsStore&) = delete;
  ClientFactsStore& operator=(const ClientFactsStore&) = delete;

  [[nodiscard]] Shared share(ClientFacts facts);
  /// Returns the number of different facts that sessions have now.
  [[nodiscard]] std::size_t size() const;

 private:
  void release(Entry& entry) noexcept;

  mutable std::mutex mutex_;
  std::map<ClientFacts, Uses> entries_;
};

}  // namespace starttls::tls
