// What a model learned is what it is asked: for one conversation the trainer's rows and the chat
// endpoint hold the same ids, under the model's own template and under one that the user chose.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/serve_backend.h"
#include "serving/http/openai.h"
#include "tests/support/model_data.h"
#include "trainer/rows.h"

namespace nibble {
namespace {

const Json kTalk = Json::parse(R"([
  {"role": "user", "content": " What is two and two? "},
  {"role": "assistant", "content": "It is four."},
  {"role": "user", "content": "Grüße, 世界\n<s> and three?"},
  {"role": "assistant", "content": "Seven."}])");

std::vector<int32_t> asked(const ServeBackend& backend, const Json& messages, bool prompt) {
  const Json body = {{"model", backend.models()[0].id},
                     {"messages", messages},
                     {"max_tokens", 1},
                     {"add_generation_prompt", prompt}};
  return serving::http::read_chat_completion(body.dump(), backend).prompts[0].ids;
}

void expect_same(const std::string& choice) {
  const Device device = Device::cpu(1);
  ModelFlags flags;
  flags.model = testing::source_path("examples/quickstart/base");
  const ServeBackend backend(device, flags, {}, "m", {}, choice);

  const auto tokenizer = Tokenizer::load(flags.model);
  const ChatTemplate chat = chat_template_of(*tokenizer, flags.model, choice);
  RowReader reader;
  reader.tokenizer = tokenizer.get();
  reader.chat = &chat;
  reader.vocab = tokenizer->vocab_size();
  bool cut = false;
  const auto row = reader.read(Json{{"messages", kTalk}}, "chat_template", "t:1", cut);
  ASSERT_TRUE(row.has_value());
  const Document& learned = row->documents[0];
  EXPECT_EQ(asked(backend, kTalk, false), learned.ids);

  // Asked for each reply, the model sees what stood before it when it learned it.
  size_t replies = 0;
  for (size_t i = 1; i < kTalk.size(); i += 2) {
    const Json before(Json::array_t(kTalk.begin(), kTalk.begin() + static_cast<int64_t>(i)));
    const std::vector<int32_t> prompt = asked(backend, before, true);
    ASSERT_LT(prompt.size(), learned.ids.size());
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), learned.ids.begin()));
    EXPECT_EQ(learned.labels[prompt.size()], learned.ids[prompt.size()]);
    EXPECT_EQ(learned.labels[prompt.size() - 1], -100);
    ++replies;
  }
  EXPECT_EQ(replies, 2U);
}

TEST(SameIds, UnderTheModelsOwnTemplate) { expect_same(""); }

TEST(SameIds, UnderATemplateOfTheUser) {
  expect_same(
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}");
}

TEST(SameIds, UnderATemplateThatMarksReplies) {
  expect_same(
      "{{ bos_token }}{% for m in messages %}<{{ m.role }}>\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
      "{% else %}{{ m.content | trim }}{% endif %}\n{% endfor %}"
      "{% if add_generation_prompt %}<assistant>\n{% endif %}");
}

TEST(SameIds, UnderChatMl) { expect_same("chatml"); }

}  // namespace
}  // namespace nibble
