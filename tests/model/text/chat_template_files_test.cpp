// Which template a folder means: the rules of transformers' from_pretrained and get_chat_template.
#include "model/text/chat_template_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "model/text/tokenizer_chat.h"
#include "tests/model/text/tokenizer_folder.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> listed(const std::string& folder) {
  std::vector<std::string> out;
  for (const NamedTemplate& t : read_chat_templates(folder)) out.push_back(t.name + "=" + t.source);
  return out;
}

const std::string kList =
    R"({"chat_template": [{"name": "default", "template": "plain"},
                          {"name": "tool_use", "template": "tools"},
                          {"name": "rag", "template": "rag"}]})";

TEST(ChatTemplateFiles, ReadsATextOrAListOfNamedTexts) {
  const testing::TokenizerFolder folder;
  EXPECT_TRUE(listed(folder.path()).empty());
  folder.write("chat_template.json", R"({"chat_template": "of the processor"})");
  EXPECT_THAT(listed(folder.path()), ElementsAre("default=of the processor"));
  folder.write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_THAT(listed(folder.path()), ElementsAre("default=of the processor"));
  folder.write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_THAT(listed(folder.path()), ElementsAre("default=one"));
  folder.write("tokenizer_config.json", kList);
  EXPECT_THAT(listed(folder.path()), ElementsAre("default=plain", "tool_use=tools", "rag=rag"));
}

TEST(ChatTemplateFiles, PrefersJinjaFilesToAllOthers) {
  const testing::TokenizerFolder folder;
  folder.write("tokenizer_config.json", kList);
  folder.write("chat_template.jinja", "file\n");
  EXPECT_THAT(listed(folder.path()), ElementsAre("default=file\n"));
  std::filesystem::create_directory(folder.path() + "/additional_chat_templates");
  folder.write("additional_chat_templates/tool_use.jinja", "with tools");
  folder.write("additional_chat_templates/notes.txt", "no template");
  EXPECT_THAT(listed(folder.path()), ElementsAre("default=file\n", "tool_use=with tools"));
}

TEST(ChatTemplateFiles, ChoosesByNameByToolsOrTheDefault) {
  const testing::TokenizerFolder folder;
  folder.write("tokenizer_config.json", kList);
  const auto templates = read_chat_templates(folder.path());
  EXPECT_EQ(choose_template(templates, "", false)->source, "plain");
  EXPECT_EQ(choose_template(templates, "", true)->source, "tools");
  EXPECT_EQ(choose_template(templates, "rag", true)->source, "rag");
  EXPECT_EQ(choose_template(templates, "nope", true), nullptr);
  EXPECT_EQ(choose_template({}, "", true), nullptr);
  try {
    choose_template({{"a", "", "x.json"}, {"b", "", "x.json"}}, "", false);
    FAIL() << "no error";
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::bad_data);
    EXPECT_THAT(e.what(), HasSubstr("called a, b"));
  }
}

TEST(ChatTemplateFiles, TakesAUsersTemplateByNameTextOrFile) {
  const testing::TokenizerFolder folder;
  folder.write("own.jinja", "from a file");
  const std::vector<NamedTemplate> own = {{"default", "plain", "x"}, {"rag", "cite", "x"}};
  EXPECT_EQ(user_template("rag", own, "k").source, "cite");
  EXPECT_EQ(user_template("chatml", own, "k").source, default_chat_template());
  EXPECT_EQ(user_template("{{ messages }}", own, "k").source, "{{ messages }}");
  EXPECT_EQ(user_template(folder.path() + "/own.jinja", own, "k").source, "from a file");
  try {
    user_template("llama9", own, "recipe.yaml:3:1");
    FAIL() << "no error";
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::missing_input);
    EXPECT_THAT(e.what(), HasSubstr("recipe.yaml:3:1: 'llama9'"));
    EXPECT_THAT(e.what(), HasSubstr("chatml, default, rag"));
  }
}

TEST(ChatTemplateFiles, NamesADamagedFile) {
  const testing::TokenizerFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_THROW(read_chat_templates(folder.path()), UserError);
  folder.write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THROW(read_chat_templates(folder.path()), UserError);
}

TEST(ChatTemplateFiles, RendersToolsWithTheTemplateForTools) {
  const NamedTemplate plain{"default", "plain {{ bos_token }}", "x"};
  const NamedTemplate tools{"tool_use", "{{ tools[0].name }} {{ eos_token }}", "x"};
  const ChatTemplate chat(plain, &tools, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  const Json messages = Json::array({{{"role", "user"}, {"content", "hi"}}});
  EXPECT_EQ(chat.render(messages, true), "plain <s>");
  EXPECT_EQ(chat.render(messages, true, Json::array()), "plain <s>");
  EXPECT_EQ(chat.render(messages, true, Json::array({{{"name", "f"}}})), "f </s>");
}

}  // namespace
}  // namespace nibble
