#include "lib/metrics/exposition.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/exposition_page.h"

using starttls::as_label_value;
using starttls::Exposition;
using starttls::test::Page;
using Type = starttls::Exposition::Type;

TEST_CASE("exposition: a family is a header and its samples", "[base]") {
  Exposition out;
  out.begin("a_total", Type::counter, "Things.");
  out.sample({}, std::uint64_t{3});
  out.begin("b", Type::gauge, "Others.");
  out.sample({{"leg", "upstream"}, {"name", "x"}}, std::int64_t{-4});
  out.sample({{"leg", "upstream"}, {"name", "y"}}, 0.25);
  CHECK(out.take() ==
        "# HELP a_total Things.\n"
        "# TYPE a_total counter\n"
        "a_total 3\n"
        "# HELP b Others.\n"
        "# TYPE b gauge\n"
        "b{leg=\"upstream\",name=\"x\"} -4\n"
        "b{leg=\"upstream\",name=\"y\"} 0.25\n");
}

TEST_CASE("exposition: a family without samples leaves no trace", "[base]") {
  Exposition out;
  out.begin("a", Type::gauge, "Nothing.");
  out.begin("b", Type::gauge, "Something.");
  out.sample({}, std::uint64_t{1});
  out.begin("c", Type::gauge, "Nothing.");
  const Page page{out.take()};
  REQUIRE(page.families().size() == 1);
  CHECK(page.families()[0].name == "b");
}

TEST_CASE("exposition: a histogram's buckets are cumulative, the last one is +Inf", "[base]") {
  constexpr double kBounds[] = {0.0025, 1, 10};
  constexpr std::uint64_t kBuckets[] = {2, 0, 3, 4};
  Exposition out;
  out.begin("h_seconds", Type::histogram, "Time.");
  constexpr starttls::Label kLabels[] = {{"leg", "upstream"}};
  out.histogram(kLabels, kBounds, kBuckets, 71.5);
  const std::string text = out.take();
  CHECK(text ==
        "# HELP h_seconds Time.\n"
        "# TYPE h_seconds histogram\n"
        "h_seconds_bucket{leg=\"upstream\",le=\"0.0025\"} 2\n"
        "h_seconds_bucket{leg=\"upstream\",le=\"1\"} 2\n"
        "h_seconds_bucket{leg=\"upstream\",le=\"10\"} 5\n"
        "h_seconds_bucket{leg=\"upstream\",le=\"+Inf\"} 9\n"
        "h_seconds_sum{leg=\"upstream\"} 71.5\n"
        "h_seconds_count{leg=\"upstream\"} 9\n");
  CHECK(Page(text).value("h_seconds_count", {{"leg", "upstream"}}) == 9);
}

TEST_CASE("exposition: NaN and the infinities have their names", "[base]") {
  Exposition out;
  out.begin("a", Type::gauge, "Odd ones.");
  out.sample({{"n", "1"}}, std::numeric_limits<double>::infinity());
  out.sample({{"n", "2"}}, -std::numeric_limits<double>::infinity());
  out.sample({{"n", "3"}}, std::nan(""));
  out.sample({{"n", "4"}}, 1792993200.0);
  out.sample({{"n", "5"}}, std::numeric_limits<std::uint64_t>::max());
  const std::string text = out.take();
  CHECK(text.find("{n=\"1\"} +Inf\n") != std::string::npos);
  CHECK(text.find("{n=\"2\"} -Inf\n") != std::string::npos);
  CHECK(text.find("{n=\"3\"} NaN\n") != std::string::npos);
  CHECK(text.find("{n=\"4\"} 1792993200\n") != std::string::npos);
  CHECK(text.find("{n=\"5\"} 18446744073709551615\n") != std::string::npos);
}

TEST_CASE("exposition: no value can leave its quotes, no help its line", "[base][security]") {
  const std::string evil = "x\"} 1\nforged_total 7\n# TYPE \\";
  Exposition out;
  out.begin("a", Type::gauge, "one\nforged 1\\");
  out.sample({{"name", evil}}, std::uint64_t{1});
  const std::string text = out.take();
  CHECK(text ==
        "# HELP a one\\nforged 1\\\\\n"
        "# TYPE a gauge\n"
        "a{name=\"x\\\"} 1\\nforged_total 7\\n# TYPE \\\\\"} 1\n");
  const Page page{text};
  CHECK(page.value("a", {{"name", evil}}) == 1);
  CHECK(page.family("a").help == "one\nforged 1\\");
}

TEST_CASE("exposition: a label's value becomes valid UTF-8", "[base][security]") {
  const std::string replaced = "\xEF\xBF\xBD";
  CHECK(as_label_value("Büro 郵便 \xF0\x9F\x93\xAB") == "Büro 郵便 \xF0\x9F\x93\xAB");
  CHECK(as_label_value(std::string("a\0b", 3)) == "a" + replaced + "b");
  CHECK(as_label_value("a\xE9 b") == "a" + replaced + " b");  // Latin-1
  CHECK(as_label_value("\xC0\xAF") == replaced + replaced);   // overlong
  CHECK(as_label_value("\xE0\x9F\xBF") == replaced + replaced + replaced);
  CHECK(as_label_value("\xF0\x8F\xBF\xBF") == replaced + replaced + replaced + replaced);
  CHECK(as_label_value("\xED\xA0\x80") == replaced + replaced + replaced);  // a surrogate
  CHECK(as_label_value("\xE9\x83") == replaced + replaced);                 // cut
  CHECK(as_label_value("\xF4\x90\x80\x80") == replaced + replaced + replaced + replaced);
  CHECK(as_label_value("\x80") == replaced);
  // Every pair of bytes gives a page that the reader accepts.
  for (unsigned first = 0; first < 256; ++first) {
    std::string all;
    for (unsigned second = 0; second < 256; ++second) {
      all += static_cast<char>(first);
      all += static_cast<char>(second);
    }
    Exposition out;
    out.begin("a", Type::gauge, "All bytes.");
    out.sample({{"name", all}}, std::uint64_t{1});
    CHECK_NOTHROW(Page{out.take()});
  }
}

TEST_CASE("exposition page: the tests' reader refuses what Prometheus refuses", "[base]") {
  const std::string head = "# HELP a Things.\n# TYPE a gauge\n";
  CHECK_NOTHROW(Page{head + "a 1\n"});
  for (const std::string& text :
       {head + "a 1", head, head + "b 1\n", std::string{"a 1\n"}, head + "a 1\n" + head + "a 2\n",
        head + "a 1\na 2\n", head + "a{x=\"1\",x=\"2\"} 1\n", head + "a{x=\"\\t\"} 1\n",
        head + "a{x=1} 1\n", head + "a  1\n", head + "a 1 \n", head + "a x\n", head + "\na 1\n",
        head + "a{x=\"\xFF\"} 1\n", std::string{"# TYPE a gauge\na 1\n"},
        std::string{"# HELP a x\n# TYPE a counter\na 1\n"},
        std::string{"# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n"},
        std::string{"# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} "
                    "1\na_sum 1\na_count 1\n"}}) {
    INFO(text);
    CHECK_THROWS(Page{text});
  }
}
