// /v1/completions against the wire's shapes.
#include <gmock/gmock.h>

#include "base/text.h"
#include "tests/serving/http/script.h"

namespace nibble::testing {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string completion(const std::string& more, const std::string& prompt = "\"abc\"") {
  return post("/v1/completions", cat(R"({"model":"tiny","prompt":)", prompt, more, "}"));
}

// id and created differ from run to run.
std::string steady(const std::string& text) {
  ordered_json json = ordered_json::parse(text);
  json["id"] = "ID";
  json["created"] = 1;
  return json.dump();
}

TEST(Completions, AnswerHasTheShapeOfTheWire) {
  ScriptedBackend backend;
  TestServer server(backend);
  const Answered a = ask(server, completion(""));
  EXPECT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.headers.at("content-type"), "application/json");
  EXPECT_THAT(a.json()["id"].get<std::string>(), StartsWith("cmpl-"));
  EXPECT_EQ(steady(a.body),
            R"({"id":"ID","object":"text_completion","created":1,"model":"tiny","choices":[)"
            R"({"index":0,"text":"Hi there","logprobs":null,"finish_reason":"stop",)"
            R"("stop_reason":null}],"usage":{"prompt_tokens":4,"completion_tokens":8,)"
            R"("total_tokens":12,"prompt_tokens_details":{"cached_tokens":0}}})");
  const Request r = backend.seen().at(0);
  EXPECT_THAT(r.prompt, ElementsAre(256, 97, 98, 99));
  EXPECT_EQ(r.sampling.max_tokens, 16);
  EXPECT_EQ(r.sampling.temperature, 1);
  EXPECT_EQ(r.adapter, -1);
  EXPECT_FALSE(r.sampling.seed.has_value());
}

TEST(Completions, StreamIsChunksThenDone) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, "ab"); };
  TestServer server(backend);
  const Answered a =
      ask(server, completion(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_EQ(a.headers.at("content-type"), "text/event-stream; charset=utf-8");
  const auto data = a.data();
  ASSERT_EQ(data.size(), 5u) << a.body;
  const std::string head =
      R"({"id":"ID","object":"text_completion","created":1,"model":"tiny","choices":[)";
  EXPECT_EQ(steady(data[0]), head + R"({"index":0,"text":"a","logprobs":null,)"
                                    R"("finish_reason":null,"stop_reason":null}]})");
  EXPECT_EQ(steady(data[2]), head + R"({"index":0,"text":"","logprobs":null,)"
                                    R"("finish_reason":"stop","stop_reason":null}]})");
  EXPECT_EQ(steady(data[3]),
            head + R"(],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6,)"
                   R"("prompt_tokens_details":{"cached_tokens":0}}})");
  EXPECT_EQ(data[4], "[DONE]");
  for (size_t i = 1; i < 4; ++i)
    EXPECT_EQ(ordered_json::parse(data[i])["id"], ordered_json::parse(data[0])["id"]);
}

TEST(Completions, EveryChunkCarriesUsageWhenAsked) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, "ab"); };
  TestServer server(backend);
  const auto data =
      ask(server, completion(R"(,"stream":true,"stream_options":{"include_usage":true,)"
                             R"("continuous_usage_stats":true})"))
          .data();
  EXPECT_EQ(ordered_json::parse(data.at(0))["usage"]["completion_tokens"], 1);
  EXPECT_EQ(ordered_json::parse(data.at(1))["usage"]["completion_tokens"], 2);
  const auto without =
      ask(server, completion(R"(,"stream":true,"stream_options":{"include_usage":false,)"
                             R"("continuous_usage_stats":true})"))
          .data();
  for (const std::string& d : without) EXPECT_EQ(d.find("usage"), std::string::npos);
}

TEST(Completions, AllSamplingFieldsReachTheEngine) {
  ScriptedBackend backend;
  TestServer server(backend);
  const Answered a = ask(
      server,
      post(
          "/v1/completions",
          R"({"model":"org/poet","prompt":[1,2,3],"max_tokens":7,"temperature":0.5,"top_p":0.9,)"
          R"("top_k":5,"seed":-1,"stop":["x","yz"],"stop_token_ids":[5],"min_tokens":2,)"
          R"("ignore_eos":true,"user":"u","presence_penalty":0.0,"logit_bias":{},"min_p":null,)"
          R"("frequency_penalty":0,"response_format":{"type":"text"},"best_of":1,"new_field":1})"));
  EXPECT_EQ(a.status, 200) << a.body;
  const Request r = backend.seen().at(0);
  EXPECT_EQ(r.adapter, 0);
  EXPECT_THAT(r.prompt, ElementsAre(1, 2, 3));
  EXPECT_EQ(r.sampling.max_tokens, 7);
  EXPECT_EQ(r.sampling.temperature, 0.5);
  EXPECT_EQ(r.sampling.top_p, 0.9);
  EXPECT_EQ(r.sampling.top_k, 5);
  EXPECT_EQ(r.sampling.seed, ~uint64_t{0});
  EXPECT_THAT(r.sampling.stop, ElementsAre("x", "yz"));
  EXPECT_THAT(r.sampling.stop_token_ids, ElementsAre(5));
  EXPECT_EQ(r.sampling.min_tokens, 2);
  EXPECT_TRUE(r.sampling.ignore_eos);
}

TEST(Completions, PromptsTimesNMakeTheChoices) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, cat(r.prompt.size(), "-", r.choice)); };
  TestServer server(backend);
  const ordered_json json = ask(server, completion(R"(,"n":2)", R"([[7],[7,8]])")).json();
  ASSERT_EQ(json["choices"].size(), 4u);
  const char* texts[] = {"1-0", "1-1", "2-0", "2-1"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(json["choices"][i]["index"], i);
    EXPECT_EQ(json["choices"][i]["text"], texts[i]);
  }
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3);  // each prompt once
  EXPECT_EQ(json["usage"]["completion_tokens"], 12);
}

TEST(Completions, EchoWithLogprobsScoresThePrompt) {
  ScriptedBackend backend;
  TestServer server(backend);
  const ordered_json json =
      ask(server, completion(R"(,"echo":true,"logprobs":1,"max_tokens":0)")).json();
  EXPECT_EQ(json["choices"][0]["text"], "abc");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "length");
  const ordered_json& l = json["choices"][0]["logprobs"];
  EXPECT_EQ(l["tokens"].dump(), R"(["<s>","a","b","c"])");
  EXPECT_EQ(l["token_logprobs"].dump(), "[null,-0.5,-0.5,-0.5]");
  EXPECT_EQ(l["text_offset"].dump(), "[0,0,1,2]");
  EXPECT_EQ(l["top_logprobs"][0], nullptr);
  EXPECT_EQ(json["usage"]["completion_tokens"], 0);
}

TEST(Completions, LogprobsListTheSampledTokenToo) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, "x"); };
  TestServer server(backend);
  EXPECT_EQ(ask(server, completion(R"(,"logprobs":2)")).json()["choices"][0]["logprobs"].dump(),
            R"({"text_offset":[0],"token_logprobs":[-0.1],"tokens":["x"],)"
            R"("top_logprobs":[{"x":-0.1,"b":-0.2}]})");
  EXPECT_EQ(ask(server, completion(R"(,"logprobs":0)"))
                .json()["choices"][0]["logprobs"]["top_logprobs"]
                .dump(),
            R"([{"x":-0.1}])");
}

TEST(Completions, OffsetsGoOnFromChunkToChunk) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, "xyz"); };
  TestServer server(backend);
  const auto data = ask(server, completion(R"(,"logprobs":0,"stream":true)")).data();
  for (size_t i = 0; i < 3; ++i) {
    const ordered_json choice = ordered_json::parse(data.at(i))["choices"][0];
    EXPECT_EQ(choice["logprobs"]["text_offset"].dump(), cat("[", i, "]"));
  }
}

TEST(Completions, StopReasonIsTheStringOrTheId) {
  ScriptedBackend backend;
  TestServer server(backend);
  backend.play = [](const Request& r) { r.on_event(ending(r, FinishReason::stop, "5")); };
  EXPECT_EQ(ask(server, completion(R"(,"stop":"5")")).json()["choices"][0]["stop_reason"], "5");
  EXPECT_EQ(ask(server, completion(R"(,"stop_token_ids":[5])")).json()["choices"][0]["stop_reason"],
            5);
  EXPECT_EQ(ask(server, completion("")).json()["choices"][0]["stop_reason"], nullptr);
}

TEST(Completions, DefaultLengthIsCutToTheContext) {
  ScriptedBackend backend;
  backend.context = 10;
  TestServer server(backend);
  ask(server, completion("", "[1,2,3,4,5,6]"));
  ask(server, completion(R"(,"max_tokens":null)", "[1]"));
  EXPECT_EQ(backend.seen().at(0).sampling.max_tokens, 4);
  EXPECT_EQ(backend.seen().at(1).sampling.max_tokens, 9);
}

TEST(Completions, TokenIdsComeBackWhenAskedOrWhenThereIsNoText) {
  ScriptedBackend backend;
  TestServer server(backend);
  backend.play = [](const Request& r) { say(r, "ab"); };
  const ordered_json whole = ask(server, completion(R"(,"return_token_ids":true)", "[7]")).json();
  EXPECT_EQ(whole["choices"][0]["token_ids"].dump(), "[97,98]");
  EXPECT_EQ(whole["choices"][0]["prompt_token_ids"].dump(), "[7]");
  backend.tokenizer = false;
  const auto data = ask(server, completion(R"(,"stream":true)", "[7]")).data();
  EXPECT_EQ(ordered_json::parse(data.at(0))["choices"][0]["token_ids"].dump(), "[97]");
  EXPECT_EQ(ask(server, completion("")).status, 400);
  EXPECT_EQ(ask(server, completion(R"(,"stop":"x")", "[7]")).status, 400);
}

TEST(Completions, PiecesOfCharactersAreSpelledAsBytes) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) {
    Event e = piece(r, "\xc3\xa9");  // one character of two tokens
    r.on_event(std::move(e));
    r.on_event(ending(r, FinishReason::stop));
  };
  TestServer server(backend);
  const ordered_json l =
      ask(server, completion(R"(,"logprobs":0)")).json()["choices"][0]["logprobs"];
  EXPECT_EQ(l["tokens"][0], "bytes:\\xc3");
  EXPECT_EQ(l["text_offset"].dump(), "[0,1]");
}

TEST(Completions, AFailureInTheStreamIsAFrameThenDone) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) {
    r.on_event(piece(r, "a"));
    Event e = ending(r, FinishReason::failed);
    e.error = "logits hold NaN";
    r.on_event(std::move(e));
  };
  TestServer server(backend);
  const auto data = ask(server, completion(R"(,"stream":true)")).data();
  ASSERT_EQ(data.size(), 3u);
  EXPECT_THAT(data[1], StartsWith(R"({"error":{"message":"the engine could not finish: )"));
  EXPECT_EQ(data[2], "[DONE]");
  const Answered whole = ask(server, completion(""));
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.json()["error"]["code"], "engine_error");
}

}  // namespace
}  // namespace nibble::testing
