// The template engine against Jinja2 itself: tests/golden/jinja holds what Jinja2 3.1.2 printed or
// refused, the shared conformance sets more of the same; and what an untrusted template must not
// do.
#include "model/text/jinja_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/errors.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kNoon =
    1752148800;  // 2025-07-10 12:00:00 UTC, where the goldens stopped the clock

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Json load(const std::string& path) { return Json::parse(slurp(path)); }

// What came out, or that the template was refused: "error".
Json outcome(const std::string& source, const Json& variables) {
  JinjaTemplate::Limits limits;
  limits.clock = kNoon;
  try {
    return {{"output", JinjaTemplate(source).render(variables, limits)}};
  } catch (const UserError& error) {
    return {{"error", error.what()}};
  }
}

void expect_same(const Json& want, const std::string& source, const Json& variables,
                 const std::string& output_key) {
  const Json got = outcome(source, variables);
  if (want.contains(output_key)) {
    EXPECT_EQ(got.value("output", got.value("error", "")), want[output_key].get<std::string>())
        << source;
  } else {
    EXPECT_TRUE(got.contains("error")) << source << "\nprinted " << got;
  }
}

std::string render(const std::string& source, const Json& variables = Json::object()) {
  return JinjaTemplate(source).render(variables);
}

std::string message_of(const std::string& source, const Json& variables = Json::object(),
                       const JinjaTemplate::Limits& limits = {}) {
  try {
    JinjaTemplate(source, "t.jinja").render(variables, limits);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), Exit::bad_data);
    return error.what();
  }
  return "no error";
}

TEST(JinjaTemplate, PrintsWhatJinja2PrintsAndRefusesWhatItRefuses) {
  const Json golden = load(testing::golden_path("jinja/cases.json"));
  ASSERT_GT(golden["cases"].size(), 700U);
  for (const Json& row : golden["cases"]) {
    expect_same(row, row["template"], golden["context"], "output");
  }
}

TEST(JinjaTemplate, AgreesWithTheSharedEngineCases) {
  NIBBLE_REQUIRE_DATA(path, "data/conformance/jinja-e2e/engine_cases.json");
  for (const Json& row : load(path)) {
    expect_same(row, row["template"], row["context"], "jinja2_output");
  }
}

TEST(JinjaTemplate, RendersOfficialChatTemplatesByteForByte) {
  NIBBLE_REQUIRE_DATA(folder, "data/conformance/chat-templates");
  const Json golden = load(folder + "/goldens.json");
  for (const Json& row : golden["cases"]) {
    Json variables = golden["scenarios"][row["scenario"].get<std::string>()];
    variables["bos_token"] = golden["bos_token"];
    variables["eos_token"] = golden["eos_token"];
    SCOPED_TRACE(row["template"].get<std::string>() + " " + row["scenario"].get<std::string>());
    expect_same(row, slurp(folder + "/templates/" + row["template"].get<std::string>()), variables,
                "output");
  }
}

TEST(JinjaTemplate, NamesLineAndColumnOfAMistake) {
  EXPECT_THAT(message_of("a\n{% for x in %}"), HasSubstr("t.jinja:2:13: expected an expression"));
  EXPECT_THAT(message_of("{{ x"), HasSubstr("t.jinja:1:5: "));
  EXPECT_THAT(message_of("é{{ 'é' + [] }}"),
              HasSubstr("t.jinja:1:9: TypeError: can only concatenate str (not \"list\") to str"));
  EXPECT_THAT(message_of("{{ x.a.b }}"), HasSubstr("t.jinja:1:6: 'x' is undefined"));
  EXPECT_THAT(message_of("{{ x | nope }}"), HasSubstr("t.jinja:1:8: No filter named 'nope'"));
  EXPECT_THAT(message_of("{% macro m(x) %}{{ x + 1 }}{% endmacro %}\r\n{{ m('s') }}"),
              HasSubstr("t.jinja:1:22: "));
  EXPECT_THAT(message_of("\n\n  {{ 'abc }}"), HasSubstr("t.jinja:3:6: "));
  try {
    JinjaTemplate("one\n{{ two", "t.jinja");
    FAIL() << "no error";
  } catch (const UserError& error) {
    EXPECT_THAT(error.render(), HasSubstr("  2 | {{ two\n    |       ^"));
  }
}

TEST(JinjaTemplate, NamesTheLineOfAMistake) {
  EXPECT_THAT(message_of("a\nb\n{{ x + }}"), HasSubstr("t.jinja:3"));
  EXPECT_THAT(message_of("a\n{% if true %}\n{{ x.y }}{% endif %}"), HasSubstr("t.jinja:3"));
  EXPECT_THAT(message_of("\n{{ raise_exception('roles must alternate') }}"),
              HasSubstr("t.jinja:2:4: roles must alternate"));
  EXPECT_THAT(message_of("{{ x }}{% nope %}"), HasSubstr("unknown tag 'nope'"));
  EXPECT_THAT(message_of("{% include 'etc/passwd' %}"), HasSubstr("reads no other files"));
}

TEST(JinjaTemplate, StopsTheClockAtNibbleNow) {
  setenv("NIBBLE_NOW", "2025-07-10T12:00:00", 1);
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y, %H:%M') }}"), "10 Jul 2025, 12:00");
  setenv("NIBBLE_NOW", "yesterday", 1);
  EXPECT_THROW(render("{{ strftime_now('%d') }}"), UserError);
  EXPECT_EQ(render("no clock"), "no clock");
  unsetenv("NIBBLE_NOW");
}

TEST(JinjaTemplate, MarksGenerationAsByteRanges) {
  const JinjaTemplate t(
      "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
      "{% endfor %}");
  const Json messages = {{{"role", "user"}, {"content", "é"}},
                         {{"role", "assistant"}, {"content", "ü"}},
                         {{"role", "assistant"}, {"content", ""}}};
  const auto rendered = t.render_spans({{"messages", messages}});
  EXPECT_TRUE(rendered.has_generation);
  ASSERT_EQ(rendered.generation.size(), 2U);
  const auto [begin, end] = rendered.generation[0];
  EXPECT_EQ(rendered.text.substr(begin, end - begin), "ü</s>");
  EXPECT_EQ(rendered.generation[1].second - rendered.generation[1].first, 4U);
}

TEST(JinjaTemplate, StopsWorkThatDoesNotEnd) {
  EXPECT_THAT(
      message_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
      HasSubstr("steps"));
  EXPECT_THAT(message_of("{{ 'abcdefgh' * 999999999999 }}"), HasSubstr("longer than"));
  EXPECT_THAT(message_of("{% for i in range(99999) %}{{ 'x' * 4096 }}{% endfor %}"),
              HasSubstr("longer than"));
  EXPECT_THAT(message_of("{{ '%999999999999d' % 1 }}"), HasSubstr("longer than"));
  EXPECT_THAT(message_of("{{ '{:999999999999}'.format(1) }}"), HasSubstr("longer than"));
  EXPECT_THAT(message_of("{{ 'a'.center(99999999999) }}"), HasSubstr("longer than"));
  EXPECT_THAT(message_of("{{ [1] * 99999999999 }}"), HasSubstr("steps"));
  EXPECT_THAT(message_of("{{ [[1]]|tojson(indent=99999999999) }}"), HasSubstr("longer than"));
  EXPECT_THAT(message_of("{{ [1]|batch(99999999999, 0)|list }}"), HasSubstr("steps"));
  const std::string doubling =
      "{% set ns = namespace(x=[0]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% "
      "endfor %}";
  EXPECT_THAT(message_of(doubling + "{{ ns.x }}"), HasSubstr("elements"));
  // What costs time without writing anything is counted too.
  std::string list, sum;
  for (int i = 0; i < 50000; ++i) list += "x,";
  for (int i = 0; i < 150; ++i) sum += "+1";
  for (const std::string& body :
       {"{% set x = [" + list + "] %}", "{% set x = 1" + sum + " %}",
        std::string("{% set x = long[999999] %}"), std::string("{% set x = long[1:] %}"),
        std::string("{% set x = long|length %}"), std::string("{% set x = long.strip('b') %}"),
        std::string("{% set x = long.upper() %}"), std::string("{% set x = 'ab' in long %}"),
        std::string("{% set x = long.find(half) %}"), std::string("{% set x = half in long %}"),
        std::string("{% set x = long.rfind(half) %}"), std::string("{% set x = long == half %}")}) {
    EXPECT_THAT(message_of("{% set long = 'é' * 1000000 %}{% set half = 'é' * 500000 ~ 'b' %}"
                           "{% for i in range(99999) %}{% for j in range(99999) %}" +
                           body + "{% endfor %}{% endfor %}"),
                HasSubstr("the template takes more than 20000"));
  }
  EXPECT_THAT(message_of(std::string(600000, 'a')), HasSubstr("at most 524288 are read"));
  EXPECT_THAT(message_of("{% set ns = namespace(s='x') %}{% for i in range(60) %}"
                         "{% set ns.s = ns.s + ns.s %}{% endfor %}"),
              HasSubstr("longer than"));
}

TEST(JinjaTemplate, KeepsTheStackWithinBounds) {
  EXPECT_THAT(message_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("t.jinja:1:19: macros or recursive loops call each other deeper than 64"));
  EXPECT_THAT(message_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
              HasSubstr("deeper than 64"));
  EXPECT_THAT(message_of("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"),
              HasSubstr("too deeply"));
  EXPECT_THAT(message_of("{{ " + std::string(100000, '[')), HasSubstr("too deeply"));
  EXPECT_THAT(message_of("{{ " + std::string(100000, '-') + "1 }}"), HasSubstr("too deeply"));
  std::string deep = "{{ 1", bars = "{{ x", nots = "{{ ", ifs, minus = "{{ 1";
  for (int i = 0; i < 50000; ++i) {
    deep += " + 1";
    bars += "|upper";
    nots += "not ";
    if (i < 20000) ifs += "{% if true %}";
    minus += " - -1";
  }
  EXPECT_THAT(message_of(deep + " }}"), HasSubstr("nests deeper"));
  EXPECT_THAT(message_of(bars + " }}"), HasSubstr("nests deeper"));
  EXPECT_THAT(message_of(nots + "x }}"), HasSubstr("too deeply"));
  EXPECT_THAT(message_of(ifs), HasSubstr("nest"));
  EXPECT_THAT(message_of(minus + " }}"), HasSubstr("nests deeper"));
  EXPECT_THAT(message_of("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}"
                         "{% set ns.x = [ns.x] %}{% endfor %}"),
              HasSubstr("nests deeper"));
  EXPECT_THAT(message_of("{% set ns = namespace(g=[1]) %}{% for i in range(9999) %}"
                         "{% set ns.g = ns.g|map('string') %}{% endfor %}"),
              HasSubstr("nests deeper"));
  EXPECT_THAT(message_of("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}"),
              HasSubstr("contains itself"));
}

TEST(JinjaTemplate, FreesNamespacesAndMacrosThatPointAtEachOther) {
  // The leak checker of the sanitizer build is the judge.
  EXPECT_EQ(render("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}"
                   "{% macro m() %}{{ a.x }}{% endmacro %}{% set a.m = m %}"
                   "{% for x in [1, 2] %}{% macro n() %}{{ loop.index }}{% endmacro %}"
                   "{% set a.n = n %}{{ loop.changed(loop) }}{{ n() }}{% endfor %}"),
            "True1False2");
}

TEST(JinjaTemplate, KeepsIntegersBeyondFloatExact) {
  EXPECT_EQ(render("{{ n }} {{ n + 1 }}", {{"n", 9007199254740993}}),
            "9007199254740993 9007199254740994");
  EXPECT_THAT(message_of("{{ 9223372036854775807 + 1 }}"), HasSubstr("64 bits"));
}

TEST(JinjaTemplate, RendersAThousandTurnsWithinItsLimits) {
  Json messages = Json::array();
  for (int i = 0; i < 1000; ++i) {
    messages.push_back(
        {{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(500, 'x')}});
  }
  const std::string text = render(
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
      "{{ raise_exception('order') }}{% endif %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}",
      {{"messages", messages}});
  EXPECT_GT(text.size(), 500000U);
}

}  // namespace
}  // namespace nibble
