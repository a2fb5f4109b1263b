// /v1/chat/completions against the wire's shapes.
#include <gmock/gmock.h>

#include "base/text.h"
#include "tests/serving/http/script.h"

namespace nibble::testing {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string chat(const std::string& more,
                 const std::string& messages = R"([{"role":"user","content":"Hi"}])") {
  return post("/v1/chat/completions", cat(R"({"model":"tiny","messages":)", messages, more, "}"));
}

std::string steady(const std::string& text) {
  ordered_json json = ordered_json::parse(text);
  json["id"] = "ID";
  json["created"] = 1;
  return json.dump();
}

std::string asked(const ScriptedBackend& backend, size_t i = 0) {
  return backend.decode(backend.seen().at(i).prompt);
}

TEST(Chat, AnswerHasTheShapeOfTheWire) {
  ScriptedBackend backend;
  TestServer server(backend);
  const Answered a = ask(server, chat(""));
  EXPECT_EQ(a.status, 200) << a.body;
  EXPECT_THAT(a.json()["id"].get<std::string>(), StartsWith("chatcmpl-"));
  EXPECT_EQ(steady(a.body),
            R"({"id":"ID","object":"chat.completion","created":1,"model":"tiny","choices":[)"
            R"({"index":0,"message":{"role":"assistant","content":"Hi there","refusal":null},)"
            R"("logprobs":null,"finish_reason":"stop","stop_reason":null}],"usage":)"
            R"({"prompt_tokens":11,"completion_tokens":8,"total_tokens":19,)"
            R"("prompt_tokens_details":{"cached_tokens":0}}})");
  EXPECT_EQ(asked(backend), "<u>Hi</><a>");
  EXPECT_NE(backend.seen().at(0).prompt.at(0), 256);  // the template's business, never twice
  EXPECT_EQ(backend.seen().at(0).sampling.max_tokens, 64 - 11);
}

TEST(Chat, TheTemplateSeesWhatTheClientTellsIt) {
  ScriptedBackend backend;
  TestServer server(backend);
  EXPECT_EQ(ask(server, chat(R"(,"chat_template_kwargs":{"thinking":false})")).status, 200);
  EXPECT_EQ(asked(backend), "thinking=false;<u>Hi</><a>");
  for (const char* taken : {"messages", "chat_template", "tokenize", "eos_token"}) {
    const Answered a = ask(server, chat(cat(R"(,"chat_template_kwargs":{")", taken, R"(":[]})")));
    EXPECT_EQ(a.status, 400);
    EXPECT_EQ(a.json()["error"]["param"], cat("chat_template_kwargs.", taken));
  }
  EXPECT_EQ(ask(server, chat(R"(,"chat_template_kwargs":[])")).status, 400);
}

TEST(Chat, StreamKeepsTheOrderOfTheWire) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, "Hi"); };
  TestServer server(backend);
  const auto data =
      ask(server, chat(R"(,"stream":true,"stream_options":{"include_usage":true},"logprobs":true)"))
          .data();
  const std::string head =
      R"({"id":"ID","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[)";
  ASSERT_EQ(data.size(), 6u);
  EXPECT_EQ(steady(data[0]), head + R"({"index":0,"delta":{"role":"assistant","content":""},)"
                                    R"("logprobs":null,"finish_reason":null}]})");
  EXPECT_EQ(steady(data[1]),
            head + R"({"index":0,"delta":{"content":"H"},"logprobs":{"content":[{"token":"H",)"
                   R"("logprob":-0.1,"bytes":[72],"top_logprobs":[]}]},"finish_reason":null}]})");
  EXPECT_EQ(steady(data[3]), head + R"({"index":0,"delta":{},"logprobs":null,)"
                                    R"("finish_reason":"stop","stop_reason":null}]})");
  EXPECT_EQ(steady(data[4]),
            head + R"(],"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13,)"
                   R"("prompt_tokens_details":{"cached_tokens":0}}})");
  EXPECT_EQ(data[5], "[DONE]");
}

TEST(Chat, EachChoiceBeginsWithItsRole) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) { say(r, "x"); };
  TestServer server(backend);
  const auto data = ask(server, chat(R"(,"stream":true,"n":2)")).data();
  int roles[2] = {0, 0};
  for (const std::string& d : data) {
    if (d == "[DONE]") continue;
    const ordered_json choice = ordered_json::parse(d)["choices"][0];
    const int index = choice["index"];
    if (choice["delta"].contains("role")) {
      ++roles[index];
    } else {
      EXPECT_EQ(roles[index], 1);
    }
  }
  EXPECT_EQ(roles[0] + roles[1], 2);
}

TEST(Chat, TheNewerNameOfMaxTokensWins) {
  ScriptedBackend backend;
  TestServer server(backend);
  ask(server, chat(R"(,"max_tokens":3,"max_completion_tokens":5)"));
  ask(server, chat(R"(,"max_tokens":3)"));
  EXPECT_EQ(backend.seen().at(0).sampling.max_tokens, 5);
  EXPECT_EQ(backend.seen().at(1).sampling.max_tokens, 3);
}

TEST(Chat, TextPartsReachTheTemplate) {
  ScriptedBackend backend;
  TestServer server(backend);
  EXPECT_EQ(ask(server, chat("", R"([{"role":"system","content":"S"},{"role":"user","content":[)"
                                 R"({"type":"text","text":"a"},{"type":"text","text":"b"}]}])"))
                .status,
            200);
  EXPECT_EQ(asked(backend), "<s>S</><u>ab</><a>");
}

TEST(Chat, TheFinalMessageGoesOnWhereItEnds) {
  ScriptedBackend backend;
  TestServer server(backend);
  const std::string talk =
      R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Well, "}])";
  EXPECT_EQ(ask(server, chat(R"(,"continue_final_message":true)", talk)).status, 200);
  EXPECT_EQ(asked(backend), "<u>Hi</><a>Well, ");
  EXPECT_EQ(ask(server, chat(R"(,"add_generation_prompt":false)")).status, 200);
  EXPECT_EQ(asked(backend, 1), "<u>Hi</>");
}

struct Bad {
  const char* more;
  const char* messages;
  const char* param;
};
constexpr char kFine[] = R"([{"role":"user","content":"Hi"}])";

class ChatRefusal : public ::testing::TestWithParam<Bad> {};
TEST_P(ChatRefusal, Is400WithThePathOfTheField) {
  ScriptedBackend backend;
  TestServer server(backend);
  const Answered a = ask(server, chat(GetParam().more, GetParam().messages));
  EXPECT_EQ(a.status, 400) << a.body;
  EXPECT_EQ(a.json()["error"]["param"], GetParam().param) << a.body;
  EXPECT_EQ(a.json()["error"]["type"], "invalid_request_error");
  EXPECT_TRUE(a.json()["error"]["code"].is_string());
  EXPECT_TRUE(backend.seen().empty());
}
INSTANTIATE_TEST_SUITE_P(
    All, ChatRefusal,
    ::testing::Values(
        Bad{"", "[]", "messages"}, Bad{"", "null", "messages"}, Bad{"", "\"Hi\"", "messages"},
        Bad{"", "[7]", "messages[0]"}, Bad{"", R"([{"content":"x"}])", "messages[0].role"},
        Bad{"", R"([{"role":"boss","content":"x"}])", "messages[0].role"},
        Bad{"", R"([{"role":"user"}])", "messages[0].content"},
        Bad{"", R"([{"role":"user","content":5}])", "messages[0].content"},
        Bad{"", R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])",
            "messages[0].content[0].type"},
        Bad{"", R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text"},
        Bad{"", R"([{"role":"tool","content":"x"}])", "messages"},
        Bad{R"(,"tools":[])", kFine, "tools"},
        Bad{R"(,"tools":[{"type":"function"}])", kFine, "tools"},
        Bad{R"(,"tool_choice":"auto")", kFine, "tool_choice"},
        Bad{R"(,"response_format":{"type":"json_object"})", kFine, "response_format"},
        Bad{R"(,"chat_template":"{{x}}")", kFine, "chat_template"},
        Bad{R"(,"add_generation_prompt":true,"continue_final_message":true)", kFine,
            "continue_final_message"},
        Bad{R"(,"top_logprobs":2)", kFine, "top_logprobs"},
        Bad{R"(,"logprobs":true,"top_logprobs":21)", kFine, "top_logprobs"},
        Bad{R"(,"logprobs":3)", kFine, "logprobs"}, Bad{R"(,"echo":true)", kFine, "echo"},
        Bad{R"(,"max_tokens":0)", kFine, "max_tokens"},
        Bad{R"(,"max_completion_tokens":63)", kFine, "max_completion_tokens"}));

}  // namespace
}  // namespace nibble::testing
