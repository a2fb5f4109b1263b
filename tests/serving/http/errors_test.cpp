// What is refused, and how: status, envelope, the path of the field, nothing of the input.
#include <gmock/gmock.h>

#include "base/text.h"
#include "tests/serving/http/script.h"

namespace nibble::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Bad {
  std::string body;
  int status;
  std::string param;  // "" for null
  std::string code;
};

void expect_refused(const Answered& a, int status, const std::string& param,
                    const std::string& code) {
  EXPECT_EQ(a.status, status) << a.body;
  const auto error = a.json()["error"];
  EXPECT_EQ(error["code"], code) << a.body;
  EXPECT_TRUE(error["message"].is_string());
  EXPECT_TRUE(error["type"].is_string());
  if (param.empty()) {
    EXPECT_TRUE(error["param"].is_null()) << a.body;
  } else {
    EXPECT_EQ(error["param"], param) << a.body;
  }
}

std::string with(const std::string& more) {
  return R"({"model":"tiny","prompt":"abc")" + more + "}";
}
Bad field(const std::string& more, const std::string& param) {
  return {with("," + more), 400, param, "invalid_request_error"};
}
Bad later(const std::string& more, const std::string& param) {
  return {with("," + more), 400, param, "not_supported_yet"};
}

class CompletionRefusal : public ::testing::TestWithParam<Bad> {};
TEST_P(CompletionRefusal, NamesTheFieldAndRepeatsNothing) {
  ScriptedBackend backend;
  TestServer server(backend);
  const Answered a = ask(server, post("/v1/completions", GetParam().body));
  expect_refused(a, GetParam().status, GetParam().param, GetParam().code);
  EXPECT_TRUE(backend.seen().empty());
  EXPECT_THAT(a.body, Not(HasSubstr("s3cret")));
}
INSTANTIATE_TEST_SUITE_P(
    Json, CompletionRefusal,
    ::testing::Values(
        Bad{"", 400, "", "invalid_request_error"}, Bad{"s3cret", 400, "", "invalid_request_error"},
        Bad{"[1]", 400, "", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":s3cret})", 400, "prompt", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":"abc","temperature":1e400})", 400, "temperature",
            "invalid_request_error"},
        Bad{R"({"model":"tiny","model":"tiny","prompt":"s3cret"})", 400, "model",
            "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":["a",{"b":[1,)", 400, "prompt[1].b[1]",
            "invalid_request_error"},
        Bad{"{\"model\":\"tiny\",\"prompt\":\"s3cret\xff\"}", 400, "prompt",
            "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":)" + std::string(80, '[') + std::string(80, ']') + "}", 400,
            "prompt" +
                [] {
                  std::string path;
                  for (int i = 0; i < 64; ++i) path += "[0]";
                  return path;
                }(),
            "invalid_request_error"}));
INSTANTIATE_TEST_SUITE_P(
    Model, CompletionRefusal,
    ::testing::Values(Bad{R"({"prompt":"abc"})", 400, "model", "invalid_request_error"},
                      Bad{R"({"model":5,"prompt":"abc"})", 400, "model", "invalid_request_error"},
                      Bad{R"({"model":"s3cret","prompt":"abc"})", 404, "model",
                          "model_not_found"}));
INSTANTIATE_TEST_SUITE_P(
    Prompt, CompletionRefusal,
    ::testing::Values(
        Bad{R"({"model":"tiny"})", 400, "prompt", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":""})", 400, "prompt", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[]})", 400, "prompt", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[[]]})", 400, "prompt[0]", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":7})", 400, "prompt", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":["a",[1]]})", 400, "prompt[1]", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[1,-1]})", 400, "prompt[1]", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[1,300]})", 400, "prompt[1]", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[1,2.5]})", 400, "prompt[1]", "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[[1],[2,4294967297]]})", 400, "prompt[1][1]",
            "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":[18446744073709551615]})", 400, "prompt[0]",
            "invalid_request_error"},
        Bad{R"({"model":"tiny","prompt":")" + std::string(70, 'x') + "\"}", 400, "prompt",
            "context_length_exceeded"}));
INSTANTIATE_TEST_SUITE_P(
    Ranges, CompletionRefusal,
    ::testing::Values(
        field(R"("max_tokens":0)", "max_tokens"), field(R"("max_tokens":-1)", "max_tokens"),
        field(R"("max_tokens":"5")", "max_tokens"), field(R"("max_tokens":5.5)", "max_tokens"),
        field(R"("max_tokens":18446744073709551615)", "max_tokens"),
        field(R"("temperature":-0.1)", "temperature"),
        field(R"("temperature":"hot")", "temperature"),
        field(R"("temperature":true)", "temperature"), field(R"("top_p":0)", "top_p"),
        field(R"("top_p":1.01)", "top_p"), field(R"("top_k":-2)", "top_k"), field(R"("n":0)", "n"),
        field(R"("n":17)", "n"), field(R"("n":2,"temperature":0)", "n"),
        field(R"("seed":9223372036854775808)", "seed"), field(R"("stop":"")", "stop"),
        field(R"("stop":["a",""])", "stop[1]"), field(R"("stop":["a",5])", "stop[1]"),
        field(R"("stop":5)", "stop"),
        field(R"("stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e",)"
              R"("f","g","h"])",
              "stop"),
        field(R"("stop_token_ids":[300])", "stop_token_ids[0]"),
        field(R"("min_tokens":9,"max_tokens":3)", "min_tokens"),
        field(R"("logprobs":21)", "logprobs"), field(R"("logprobs":true)", "logprobs"),
        field(R"("stream":1)", "stream"),
        field(R"("stream_options":{"include_usage":true})", "stream_options"),
        field(R"("stream":true,"stream_options":{"include_usage":3})",
              "stream_options.include_usage")));
INSTANTIATE_TEST_SUITE_P(
    NotYet, CompletionRefusal,
    ::testing::Values(later(R"("presence_penalty":0.5)", "presence_penalty"),
                      later(R"("frequency_penalty":-1)", "frequency_penalty"),
                      later(R"("repetition_penalty":1.1)", "repetition_penalty"),
                      later(R"("logit_bias":{"5":1})", "logit_bias"),
                      later(R"("min_p":0.1)", "min_p"), later(R"("best_of":2)", "best_of"),
                      later(R"("suffix":"x")", "suffix"),
                      later(R"("response_format":{"type":"json_object"})", "response_format"),
                      later(R"("guided_regex":"a+")", "guided_regex"),
                      later(R"("prompt_logprobs":1)", "prompt_logprobs")));

TEST(Errors, ATooLongRequestSaysAllCounts) {
  ScriptedBackend backend;
  TestServer server(backend);
  const auto error =
      ask(server, post("/v1/completions", with(R"(,"max_tokens":61)"))).json()["error"];
  EXPECT_EQ(error["param"], "max_tokens");
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["n_prompt_tokens"], 4);
  EXPECT_EQ(error["n_ctx"], 64);
  for (const char* number : {"64", " 4 ", "61"})
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(number));
}

TEST(Errors, RoutesAndVerbsAreNamed) {
  ScriptedBackend backend;
  TestServer server(backend);
  expect_refused(ask(server, get("/nowhere")), 404, "", "not_found");
  expect_refused(ask(server, post("/v1/embeddings", "{}")), 404, "", "not_supported_yet");
  expect_refused(ask(server, get("/v1/models/none")), 404, "model", "model_not_found");
  const Answered wrong = ask(server, get("/v1/completions"));
  expect_refused(wrong, 405, "", "method_not_allowed");
  EXPECT_EQ(wrong.headers.at("allow"), "POST");
  EXPECT_EQ(ask(server, post("/health", "")).headers.at("allow"), "GET, HEAD");
}

TEST(Errors, TheBodyMustBeDeclaredJson) {
  ScriptedBackend backend;
  TestServer server(backend);
  const std::string body = with("");
  EXPECT_EQ(ask(server, post("/v1/completions", body, "Content-Type: text/plain\r\n")).status, 400);
  EXPECT_EQ(ask(server, post("/v1/completions", body, "")).status, 400);
  EXPECT_EQ(ask(server,
                post("/v1/completions", body, "Content-Type: Application/JSON; charset=utf-8\r\n"))
                .status,
            200);
}

TEST(Errors, AFullQueueSaysWhenToComeBack) {
  ScriptedBackend backend;
  TestServer server(backend);
  backend.admit = Admit::queue_full;
  const Answered full = ask(server, post("/v1/completions", with(R"(,"stream":true)")));
  expect_refused(full, 429, "", "queue_full");
  EXPECT_EQ(full.headers.at("retry-after"), "1");
  backend.admit = Admit::draining;
  const Answered leaving = ask(server, post("/v1/completions", with("")));
  expect_refused(leaving, 503, "", "server_draining");
  EXPECT_EQ(leaving.headers.at("connection"), "close");
}

TEST(Errors, ChoicesAlreadyQueuedAreTakenBackWhenTheQueueFills) {
  ScriptedBackend backend;
  backend.play = [&](const Request&) { backend.admit = Admit::queue_full; };
  TestServer server(backend);
  EXPECT_EQ(ask(server, post("/v1/completions", with(R"(,"n":3)"))).status, 429);
  EXPECT_TRUE(backend.wait_cancelled(1));
}

TEST(Errors, ADeadEngineIs503Everywhere) {
  ScriptedBackend backend;
  TestServer server(backend);
  backend.well = false;
  expect_refused(ask(server, post("/v1/completions", with(""))), 503, "", "engine_unhealthy");
  for (const char* path : {"/health", "/livez", "/readyz"})
    EXPECT_EQ(ask(server, get(path)).status, 503);
}

TEST(Errors, KeysGuardAllButHealth) {
  ScriptedBackend backend;
  TestServer server(backend, [](auto& general, auto&) { general.api_keys = {"one", "two"}; });
  const Answered none = ask(server, get("/v1/models"));
  expect_refused(none, 401, "", "invalid_api_key");
  EXPECT_EQ(none.headers.at("www-authenticate"), "Bearer");
  for (const char* path : {"/metrics", "/version", "/nowhere", "/v1/completions"})
    EXPECT_EQ(ask(server, get(path)).status, 401) << path;
  EXPECT_EQ(ask(server, get("/health")).status, 200);
  EXPECT_EQ(ask(server, get("/v1/models", "Authorization: Bearer two\r\n")).status, 200);
  EXPECT_EQ(ask(server, get("/v1/models", "Authorization: Bearer tw\r\n")).status, 401);
  EXPECT_EQ(ask(server, get("/v1/models", "Authorization: Basic two\r\n")).status, 401);
}

TEST(Errors, ALoopbackServerAnswersOnlyToItsOwnName) {
  ScriptedBackend backend;
  TestServer server(backend);
  auto host = [&](const std::string& name) {
    return ask(server, cat("GET /v1/models HTTP/1.1\r\nHost: ", name, "\r\n\r\n")).status;
  };
  for (const char* good : {"localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]", "[::1]:8000"})
    EXPECT_EQ(host(good), 200) << good;
  for (const char* bad : {"evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::1]x", ""})
    EXPECT_EQ(host(bad), 403) << bad;
  EXPECT_EQ(ask(server, "GET /v1/models HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(ask(server, "GET /v1/models HTTP/1.0\r\n\r\n").status, 200);
}

}  // namespace
}  // namespace nibble::testing
