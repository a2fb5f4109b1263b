// Messages to text: parts, tool arguments, and where the assistant speaks.
#include "model/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/errors.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json turn(const std::string& role, const Json& content) {
  return {{"role", role}, {"content", content}};
}

std::vector<std::string> cut(const std::string& text, const ChatTemplate::Spans& spans) {
  std::vector<std::string> parts;
  for (const auto& [begin, end] : spans) parts.push_back(text.substr(begin, end - begin));
  return parts;
}

std::vector<std::string> replies(const ChatTemplate& chat, const Json& messages) {
  return cut(chat.render(messages, false), chat.assistant_spans(messages));
}

const Json kTalk =
    Json::array({turn("system", "Be brief."), turn("user", "2+2?"), turn("assistant", "4"),
                 turn("user", "3+3?"), turn("assistant", "6")});

ChatTemplate official(const std::string& folder, const std::string& name) {
  std::ifstream file(folder + "/templates/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return {text.str(), "<s>", "</s>"};
}

TEST(ChatTemplate, WritesChatMlForAModelWithoutATemplate) {
  const ChatTemplate chat(default_chat_template(), "<s>", "<|im_end|>");
  EXPECT_EQ(chat.render(Json::array({turn("system", "Be brief."), turn("user", " hi\n")}), true),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n hi\n<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(chat.render(Json::array({turn("user", "a"), turn("assistant", Json())}), false),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
}

TEST(ChatTemplate, MasksRepliesWithTheirEndOfTurnToken) {
  const ChatTemplate chat(default_chat_template(), "<s>", "<|im_end|>");
  EXPECT_THAT(replies(chat, kTalk), ElementsAre("4<|im_end|>", "6<|im_end|>"));
  // The end-of-turn token need not be the tokenizer's eos.
  const ChatTemplate other(default_chat_template(), "<s>", "</s>");
  EXPECT_THAT(replies(other, kTalk), ElementsAre("4<|im_end|>", "6<|im_end|>"));
}

TEST(ChatTemplate, TrustsTheMarksOfATemplateThatHasThem) {
  const ChatTemplate chat(
      "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}!"
      "{% endgeneration %}{% else %}U:{{ m.content }}{% endif %}\n{% endfor %}",
      "", "");
  EXPECT_TRUE(chat.has_generation());
  EXPECT_THAT(replies(chat, kTalk), ElementsAre("4!", "6!"));
}

TEST(ChatTemplate, BeginsTheReplyWhereAPromptOpensMoreThanTheReplyHas) {
  const ChatTemplate chat(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
      "{% if add_generation_prompt %}<assistant><think>\n{% endif %}",
      "", "</s>");
  EXPECT_THAT(replies(chat, Json::array({turn("user", "q"), turn("assistant", "<tool>x")})),
              ElementsAre("<tool>x</s>"));
}

TEST(ChatTemplate, RefusesAConversationThatLaterTurnsRewrite) {
  const ChatTemplate chat(
      "{% for m in messages %}[{{ m.role }}]{% if loop.last %}{{ m.content }}{% else %}-{% endif %}"
      "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
      "", "");
  try {
    chat.assistant_spans(kTalk);
    FAIL() << "no error";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot be masked by position"));
    EXPECT_THAT(error.what(), HasSubstr("message 3"));
  }
}

TEST(ChatTemplate, JoinsTextPartsForATemplateThatOnlyKnowsStrings) {
  const Json parts =
      Json::array({{{"type", "text"}, {"text", "one "}}, {{"type", "text"}, {"text", "two"}}});
  const Json messages = Json::array({turn("user", parts)});
  const ChatTemplate plain("{% for m in messages %}{{ m.content }}{% endfor %}", "", "");
  EXPECT_FALSE(plain.takes_parts());
  EXPECT_EQ(plain.render(messages, false), "one two");
  const ChatTemplate knowing(
      "{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}", "",
      "");
  EXPECT_TRUE(knowing.takes_parts());
  EXPECT_EQ(knowing.render(messages, false), "<one ><two>");
}

TEST(ChatTemplate, GivesTemplatesToolArgumentsAsObjects) {
  const std::string source =
      "{% for m in messages %}{{ m.tool_calls[0].function.arguments | tojson }}{% endfor %}";
  Json message = {{"role", "assistant"}, {"content", nullptr}};
  message["tool_calls"] =
      Json::array({{{"function", {{"name", "f"}, {"arguments", R"({"b": 1, "a": "ü"})"}}}}});
  const Json messages = Json::array({message});
  EXPECT_EQ(ChatTemplate(source, "", "").render(messages, false), R"({"b": 1, "a": "ü"})");
  const ChatTemplate joining("{{ 'args: ' + messages[0].tool_calls[0].function.arguments }}", "",
                             "");
  EXPECT_EQ(joining.render(messages, false), R"(args: {"b": 1, "a": "ü"})");
}

TEST(ChatTemplate, PassesToolsSpecialTokensAndExtras) {
  const ChatTemplate chat(
      "{{ bos_token }}{{ pad_token }}{{ tools|length if tools else 'no tools' }}{{ thinking }}",
      "<s>", "</s>", {{"pad_token", "<pad>"}});
  const Json messages = Json::array({turn("user", "x")});
  EXPECT_EQ(chat.render(messages, true, Json::array({Json::object()}), {{"thinking", true}}),
            "<s><pad>1True");
  EXPECT_EQ(chat.render(messages, true, Json()), "<s><pad>no tools");
}

TEST(ChatTemplate, GivesReasoningUnderTheNamesThatTemplatesRead) {
  const ChatTemplate chat("{{ messages[0].thinking }}|{{ messages[0].reasoning_content }}", "", "");
  const auto text = [&](Json message) {
    message["role"] = "assistant";
    return chat.render(Json::array({message}), false);
  };
  EXPECT_EQ(text({{"reasoning_content", "a"}}), "a|a");
  EXPECT_EQ(text({{"thinking", "b"}}), "b|b");
  EXPECT_EQ(text({{"reasoning", "c"}}), "c|c");
  EXPECT_EQ(text({{"thinking", "b"}, {"reasoning_content", "a"}}), "b|a");
  EXPECT_EQ(text({{"content", "x"}}), "|");
}

TEST(ChatTemplate, RefusesMessagesThatAreNoList) {
  const ChatTemplate chat(default_chat_template(), "", "");
  EXPECT_THROW(chat.render("hello", true), UserError);
  EXPECT_THROW(chat.render(Json::array({"hello"}), true), UserError);
}

TEST(ChatTemplate, MasksOfficialTemplates) {
  NIBBLE_REQUIRE_DATA(folder, "data/conformance/chat-templates");
  const Json single = Json::array({turn("user", "2+2?"), turn("assistant", "It is 4.")});
  EXPECT_THAT(replies(official(folder, "Qwen-Qwen2.5-7B-Instruct.jinja"), single),
              ElementsAre("It is 4.<|im_end|>"));
  EXPECT_THAT(replies(official(folder, "google-gemma-2-2b-it.jinja"), single),
              ElementsAre("It is 4.<end_of_turn>"));
  EXPECT_THAT(replies(official(folder, "meta-llama-Llama-3.2-3B-Instruct.jinja"), single),
              ElementsAre("It is 4.<|eot_id|>"));
  EXPECT_THAT(replies(official(folder, "microsoft-Phi-3.5-mini-instruct.jinja"), single),
              ElementsAre("It is 4.<|end|>"));
  EXPECT_THAT(replies(official(folder, "microsoft-Phi-3.5-mini-instruct.jinja"),
                      Json::array({turn("user", "a"), turn("assistant", "b"), turn("user", "c"),
                                   turn("assistant", "d")})),
              ElementsAre("b<|end|>", "d<|end|>"));
  EXPECT_THAT(replies(official(folder, "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja"), single),
              ElementsAre("It is 4.<｜end▁of▁sentence｜>"));
  EXPECT_THAT(replies(official(folder, "mistralai-Mistral-Nemo-Instruct-2407.jinja"), single),
              ElementsAre("It is 4.</s>"));
}

}  // namespace
}  // namespace nibble
