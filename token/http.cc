#include "token/http.h"

#include <array>
#include <cstddef>
#include <utility>

#include <curl/curl.h>

#include "lib/base/ascii.h"

namespace starttls::token {
namespace {

constexpr std::size_t kMaxHead = std::size_t{64} << 10U;

/// An answer while it arrives.
struct Arriving {
  std::string body;
  std::size_t head_bytes = 0;
  bool too_large = false;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) noexcept {
  auto& arriving = *static_cast<Arriving*>(user);
  const std::size_t bytes = size * count;
  if (bytes > kMaxAnswer - arriving.body.size()) {
    arriving.too_large = true;
    return 0;  // libcurl ends the exchange
  }
  arriving.body.append(data, bytes);  // within its capacity
  return bytes;
}

std::size_t on_head(char* /*data*/, std::size_t size, std::size_t count, void* user) noexcept {
  auto& arriving = *static_cast<Arriving*>(user);
  const std::size_t bytes = size * count;
  if (bytes > kMaxHead - arriving.head_bytes) {
    arriving.too_large = true;
    return 0;
  }
  arriving.head_bytes += bytes;
  return bytes;
}

Exit status_of(CURLcode code) noexcept {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return Exit::unavailable;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Exit::config;
    case CURLE_OUT_OF_MEMORY:
      return Exit::software;
    default:  // libcurl has many; the others may be gone at the next try
      return Exit::temporary;
  }
}

/// Returns the address up to its path, for messages.
std::string host_of(const std::string& url) {
  const auto start = url.find("://");
  const auto end = start == std::string::npos ? start : url.find_first_of("/?", start + 3);
  return ascii::escape(url.substr(0, end));
}

class CurlHttp final : public Http {
 public:
  CurlHttp(CURL* curl, HttpSettings settings) noexcept
      : curl_(curl), settings_(std::move(settings)) {}
  CurlHttp(const CurlHttp&) = delete;
  CurlHttp& operator=(const CurlHttp&) = delete;
  ~CurlHttp() override { ::curl_easy_cleanup(curl_); }

  Outcome<Response> post(const std::string& url, const Form& form) override {
    ::curl_easy_reset(curl_);
    Arriving arriving;
    arriving.body.reserve(kMaxAnswer);  // it never moves, so that one wipe reaches all of it
    std::array<char, CURL_ERROR_SIZE> words{};
    curl_slist* const headers = ::curl_slist_append(nullptr, "Accept: application/json");
    if (headers == nullptr) return failed(Exit::software, "memory has run out");
    CURLcode code = set_up(url, form);
    const auto set = [&](CURLoption option, auto value) {
      if (code == CURLE_OK) code = ::curl_easy_setopt(curl_, option, value);
    };
    set(CURLOPT_HTTPHEADER, headers);
    set(CURLOPT_WRITEFUNCTION, &on_body);
    set(CURLOPT_WRITEDATA, &arriving);
    set(CURLOPT_HEADERFUNCTION, &on_head);
    set(CURLOPT_HEADERDATA, &arriving);
    set(CURLOPT_ERRORBUFFER, words.data());
    if (code == CURLE_OK) code = ::curl_easy_perform(curl_);
    ::curl_slist_free_all(headers);

    Response response{.body = Secret{arriving.body}};
    wipe(arriving.body);
    if (arriving.too_large) {
      return failed(Exit::protocol, host_of(url) + ": the answer is larger than 64 KiB");
    }
    if (code != CURLE_OK) {
      const std::string_view text =
          words.front() != '\0' ? words.data() : ::curl_easy_strerror(code);
      return failed(status_of(code), host_of(url) + ": " + ascii::escape(text));
    }
    take_facts(response);
    return response;
  }

 private:
  CURLcode set_up(const std::string& url, const Form& form) {
    CURLcode code = CURLE_OK;
    const auto set = [&](CURLoption option, auto value) {
      if (code == CURLE_OK) code = ::curl_easy_setopt(curl_, option, value);
    };
    const bool encrypted = url.starts_with("https://");
    set(CURLOPT_URL, url.c_str());
    // Only loopback is reached in the clear, see check_endpoint. No proxy may be in between.
    set(CURLOPT_PROTOCOLS_STR, encrypted ? "https" : "http");
    if (!encrypted) set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!settings_.ca_file.empty()) set(CURLOPT_CAINFO, settings_.ca_file.c_str());
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(settings_.limit.count()));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings_.limit.count()));
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, "starttls-token/" STARTTLS_VERSION);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(form.encoded().size()));
    set(CURLOPT_POSTFIELDS, form.encoded().data());
    return code;
  }

  void take_facts(Response& response) {
    ::curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &response.status);
    const char* type = nullptr;
    if (::curl_easy_getinfo(curl_, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != nullptr) {
      response.content_type = type;
    }
    curl_off_t wait = 0;
    if (::curl_easy_getinfo(curl_, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0) {
      response.retry_after = std::chrono::seconds{wait};
    }
  }

  CURL* curl_;
  HttpSettings settings_;
};

}  // namespace

Outcome<std::unique_ptr<Http>> make_http(HttpSettings settings) {
  if (::curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return failed(Exit::software, "libcurl cannot be initialized");
  }
  CURL* const curl = ::curl_easy_init();
  if (curl == nullptr) return failed(Exit::software, "libcurl cannot be initialized");
  return std::make_unique<CurlHttp>(curl, std::move(settings));
}

}  // namespace starttls::token
