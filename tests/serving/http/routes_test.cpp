// The small routes, and the small pieces the large ones stand on.
#include <gmock/gmock.h>

#include "base/text.h"
#include "serving/http/json_place.h"
#include "serving/http/sha256.h"
#include "tests/serving/http/script.h"

namespace nibble::testing {
namespace {

using serving::http::json_path_at;
using ::testing::HasSubstr;

TEST(Routes, ModelsListTheBaseAndItsAdapters) {
  ScriptedBackend backend;
  TestServer server(backend);
  const auto json = ask(server, get("/v1/models?x=1")).json();
  EXPECT_EQ(json["object"], "list");
  ASSERT_EQ(json["data"].size(), 3u);
  const int64_t created = json["data"][0]["created"];
  EXPECT_EQ(json["data"][1].dump(),
            cat(R"({"id":"org/poet","object":"model","created":)", created,
                R"(,"owned_by":"nibble","root":"org/poet","parent":"tiny","max_model_len":64,)"
                R"("permission":[]})"));
  EXPECT_EQ(json["data"][0]["parent"], nullptr);
  for (const char* path : {"/v1/models/org/poet", "/v1/models/org%2Fpoet"})
    EXPECT_EQ(ask(server, get(path)).json(), json["data"][1]);
}

TEST(Routes, VersionAndHealthAreSmall) {
  ScriptedBackend backend;
  TestServer server(backend);
  EXPECT_EQ(ask(server, get("/version")).body, R"({"version":"0.0.0-test"})");
  EXPECT_EQ(ask(server, get("/health")).body, R"({"status":"ok"})");
}

TEST(Routes, MetricsAreWhatPrometheusReads) {
  ScriptedBackend backend;
  TestServer server(backend);
  ask(server, post("/v1/completions", R"({"model":"tiny","prompt":"abc"})"));
  ask(server, get("/nowhere-1"));
  ask(server, get("/nowhere-2"));
  const Answered a = ask(server, get("/metrics"));
  EXPECT_EQ(a.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line :
       {"# TYPE nibble_num_requests_running "
        "gauge\nnibble_num_requests_running{model_name=\"tiny\"} 2\n",
        "nibble_num_requests_waiting{model_name=\"tiny\"} 3\n",
        "nibble_kv_cache_usage_perc{model_name=\"tiny\"} 0.25\n",
        "nibble_prompt_tokens_total{model_name=\"tiny\"} 70\n",
        "nibble_generation_tokens_total{model_name=\"tiny\"} 90\n",
        "nibble_request_success_total{model_name=\"tiny\",finished_reason=\"stop\"} 5\n",
        "nibble_request_success_total{model_name=\"tiny\",finished_reason=\"length\"} 4\n",
        "nibble_time_to_first_token_seconds_count{model_name=\"tiny\"} 1\n",
        "nibble_inter_token_latency_seconds_count{model_name=\"tiny\"} 7\n",
        "nibble_e2e_request_latency_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 1\n",
        "nibble_http_requests_total{handler=\"/v1/completions\",method=\"POST\",status=\"200\"} "
        "1\n",
        "nibble_http_requests_total{handler=\"other\",method=\"GET\",status=\"404\"} 2\n"})
    EXPECT_THAT(a.body, HasSubstr(line));
}

TEST(Histogram, BucketsCountEverythingBelowTheirBound) {
  serving::http::Histogram h({1, 2.5});
  h.add(1);
  h.add(2, 3);
  h.add(9);
  std::string text;
  h.write(text, "x", "help", "a=\"b\"");
  EXPECT_EQ(text,
            "# HELP x help\n# TYPE x histogram\nx_bucket{a=\"b\",le=\"1\"} 1\n"
            "x_bucket{a=\"b\",le=\"2.5\"} 4\nx_bucket{a=\"b\",le=\"+Inf\"} 5\n"
            "x_sum{a=\"b\"} 16\nx_count{a=\"b\"} 5\n");
}

TEST(JsonPlace, FindsThePathOfABytePosition) {
  const std::string text = "{\"a\": 1,\n \"b\": [1, {\"c\": \"x,y]\", \"d\": ?}]}";
  auto at = [&](const std::string& mark) {
    const size_t offset = text.find(mark);
    const size_t line = text.rfind('\n', offset);
    return line == std::string::npos ? json_path_at(text, 1, static_cast<int>(offset) + 1)
                                     : json_path_at(text, 2, static_cast<int>(offset - line));
  };
  EXPECT_EQ(at("1,\n"), "a");
  EXPECT_EQ(at("1, {"), "b[0]");
  EXPECT_EQ(at("?"), "b[1].d");
  EXPECT_EQ(json_path_at("{\"very bad\\\" name\": ?}", 1, 20), "?");
  EXPECT_EQ(json_path_at("", 1, 1), "");
}

// Examples of FIPS 180-4 (NIST's "SHA256.pdf") and the empty text.
TEST(Sha256, GivesTheDigestsOfTheStandard) {
  auto hex = [](std::string_view text) {
    std::string out;
    for (const uint8_t b : serving::http::sha256(text)) {
      char pair[3];
      std::snprintf(pair, sizeof pair, "%02x", b);
      out += pair;
    }
    return out;
  };
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

}  // namespace
}  // namespace nibble::testing
