// Recipes as trees with places.
#include "base/yaml.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace nibble {
namespace {

std::vector<UserError> mistakes(std::string_view text) {
  try {
    parse_yaml(text, "r.yaml");
  } catch (const UserErrors& errors) {
    EXPECT_EQ(errors.code(), Exit::usage);
    return errors.all();
  }
  return {};
}

TEST(Yaml, EveryNodeKnowsItsPlace) {
  const YamlNode root =
      parse_yaml("a: 1\nb:\n  c: 2e-4\n  d: [x, 'y', {k: \"v\"}]\ne:\n", "r.yaml");
  ASSERT_EQ(root.kind, YamlNode::Kind::map);
  ASSERT_EQ(root.entries.size(), 3u);
  EXPECT_EQ(root.find("a")->where.str(), "r.yaml:1:4");
  EXPECT_EQ(root.entries[1].first.where.str(), "r.yaml:2:1");
  const YamlNode& b = *root.find("b");
  EXPECT_EQ(b.find("c")->scalar, "2e-4");
  EXPECT_EQ(b.find("c")->where.str(), "r.yaml:3:6");
  EXPECT_EQ(b.find("c")->where.length, 4);
  EXPECT_EQ(b.find("c")->where.text, "  c: 2e-4");
  const YamlNode& d = *b.find("d");
  ASSERT_EQ(d.items.size(), 3u);
  EXPECT_FALSE(d.items[0].quoted);
  EXPECT_TRUE(d.items[1].quoted);
  EXPECT_EQ(d.items[1].where.str(), "r.yaml:4:10");
  EXPECT_EQ(d.items[1].where.length, 3);
  EXPECT_EQ(d.items[2].find("k")->scalar, "v");
  EXPECT_EQ(root.find("e")->kind, YamlNode::Kind::null);
  EXPECT_EQ(root.find("e")->where.str(), "r.yaml:5:1");
  EXPECT_EQ(root.find("f"), nullptr);
}

TEST(Yaml, ScalarsStayTheTextTheyAre) {
  const YamlNode root = parse_yaml("[012, yes, 1_000, .5, 0x10, '~', ~, null]", "r");
  const std::vector<std::string> texts = {"012", "yes", "1_000", ".5", "0x10", "~", "~", "null"};
  ASSERT_EQ(root.items.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(root.items[i].scalar, texts[i]);
    EXPECT_EQ(root.items[i].kind == YamlNode::Kind::null, i >= 6) << texts[i];
  }
}

TEST(Yaml, AllDuplicatesAnchorsAndTagsAreFoundAtOnce) {
  const auto found = mistakes("a: 1\na: 2\nb: &x 3\nc: *x\nd: !!str 4\nq: {k: 1, k: 2}\n");
  ASSERT_EQ(found.size(), 5u);
  EXPECT_STREQ(found[0].what(), "r.yaml:2:1: 'a' is given twice, first on line 1 (keep one)");
  EXPECT_EQ(found[1].where().line, 3);
  EXPECT_EQ(found[2].where().line, 4);
  EXPECT_EQ(found[3].where().line, 5);
  EXPECT_EQ(found[4].where().str(), "r.yaml:6:11");
}

TEST(Yaml, MistakesThatLeaveTheRestReadableCanBeCollected) {
  std::vector<UserError> found;
  const YamlNode root = parse_yaml("a: 1\na: 2\nb: 3\n", "r.yaml", &found);
  EXPECT_EQ(found.size(), 1u);
  EXPECT_EQ(root.find("a")->scalar, "1");
  EXPECT_EQ(root.find("b")->scalar, "3");
}

TEST(Yaml, BrokenSyntaxNamesItsPlaceAndQuotesTheLine) {
  for (const char* bad :
       {"a: [1, 2\nb: 3\n", "a: 1\n b: 2\n", "\ta: 1\n", "a: \"x\n", "key: val: x\n", "a: @b\n",
        "- a\nb: c\n", "a: {b: 1\n", "[a]: 1\n", "a: 1\n---\nb: 2\n"}) {
    const auto found = mistakes(bad);
    ASSERT_FALSE(found.empty()) << bad;
    EXPECT_GT(found[0].where().line, 0) << bad;
  }
  const auto found = mistakes("x: 1\nkey: val: x\n");
  EXPECT_EQ(found[0].where().line, 2);
  EXPECT_EQ(found[0].where().text, "key: val: x");
}

TEST(Yaml, BadBytesAndDeepNestingAreRefused) {
  EXPECT_EQ(mistakes("a: 1\nb: \xFF\n").at(0).where().line, 2);
  EXPECT_EQ(mistakes(std::string_view("a: \0b\n", 6)).at(0).message(), "holds a zero byte");
  EXPECT_EQ(mistakes(std::string(200000, '[')).size(), 1u);
  std::string steps;
  for (int i = 0; i < 70; ++i) steps += cat(std::string(static_cast<size_t>(i), ' '), "a:\n");
  EXPECT_NE(mistakes(steps).at(0).message().find("nested deeper"), std::string::npos);
}

TEST(Yaml, NothingAtAllIsAnEmptyDocument) {
  for (const char* empty : {"", "\n\n", "# only a comment\n", "---\n"}) {
    EXPECT_EQ(parse_yaml(empty, "r.yaml").kind, YamlNode::Kind::null) << empty;
    EXPECT_EQ(parse_yaml(empty, "r.yaml").where.file, "r.yaml");
  }
}

TEST(Yaml, AWrittenScalarReadsBackAsTheSameText) {
  for (const std::string text : {"nf4",       "",     "yes",        "True",  "12",
                                 "1e-4",      "-x",   "a: b",       "a #b",  "a#b",
                                 "x,y",       "[a]",  "~",          "null",  "tab\tnew\nline",
                                 "quo\"te\\", "é漢",  "a:",         ":a",    "*a",
                                 "it's",      ".5",   ".*q_proj",   " lead", "trail ",
                                 "C:\\x",     "\x01", "2020-01-01", "@x",    "%x",
                                 "--",        "<<"}) {
    const std::string written = yaml_scalar(text);
    const YamlNode map = parse_yaml("k: " + written + "\n", "r");
    EXPECT_EQ(map.find("k")->kind, YamlNode::Kind::scalar) << written;
    EXPECT_EQ(map.find("k")->scalar, text) << written;
    const YamlNode list = parse_yaml("[" + written + ", " + written + "]", "r");
    ASSERT_EQ(list.items.size(), 2u) << written;
    EXPECT_EQ(list.items[1].scalar, text) << written;
  }
  EXPECT_EQ(yaml_scalar("out/tiny-llama"), "out/tiny-llama");
  EXPECT_EQ(yaml_scalar("q_proj"), "q_proj");
}

}  // namespace
}  // namespace nibble
