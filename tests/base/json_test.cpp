// JSON through the strict door.
#include "base/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/text.h"

namespace nibble {
namespace {

std::string complaint(std::string_view text) {
  try {
    parse_json(text, "x.json");
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), Exit::bad_data);
    return error.what();
  }
  return "accepted";
}

TEST(Json, KeepsTheOrderOfKeys) {
  const Json value = parse_json(R"({"z": 1, "a": [true, null, -2.5], "m": {"k": "v"}})", "x");
  EXPECT_EQ(dump_json(value), R"({"z":1,"a":[true,null,-2.5],"m":{"k":"v"}})");
}

TEST(Json, RefusesAKeyGivenTwiceAtItsPlace) {
  EXPECT_EQ(complaint("{\"a\": 1,\n \"b\": {\"c\\\"\": 1, \"c\\\"\": 2}}"),
            "x.json:2:18: the key 'c\"' is given twice");
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += cat("\"k", i, "\": 0, ");
  EXPECT_EQ(complaint(many + "\"k7\": 1}"),
            cat("x.json:1:", many.size() + 1, ": the key 'k7' is given twice"));
}

TEST(Json, RefusesDeepNestingWithoutRecursion) {
  EXPECT_EQ(complaint(std::string(64, '[') + std::string(64, ']')), "accepted");
  EXPECT_EQ(complaint(std::string(65, '[') + std::string(65, ']')),
            "x.json:1:65: nested deeper than 64 levels");
  EXPECT_EQ(complaint(std::string(200000, '[')), "x.json:1:65: nested deeper than 64 levels");
  std::string objects;
  for (int i = 0; i < 50000; ++i) objects += "{\"a\":";
  EXPECT_NE(complaint(objects).find("nested deeper"), std::string::npos);
}

TEST(Json, NamesThePlaceOfBadSyntax) {
  for (const char* bad : {"", "{", "[1,]", "{\"a\":1,}", "nul", "01", "1.", "\"\\x\"", "[1 2]",
                          "{'a': 1}", "\"\t\"", "NaN", "[1]]", "// c\n1", "\"\\ud800\"", "+1"}) {
    EXPECT_NE(complaint(bad).find("x.json:1:"), std::string::npos) << bad << complaint(bad);
  }
  EXPECT_NE(complaint("{\n  \"a\": tru\n}").find("x.json:2:"), std::string::npos);
}

TEST(Json, RefusesBadUtf8AndNumbersThatOverflow) {
  EXPECT_NE(complaint("[\"\xFF\"]"), "accepted");
  EXPECT_NE(complaint("[\"\xED\xA0\x80\"]"), "accepted");
  EXPECT_NE(complaint("[1e400]").find("too large"), std::string::npos) << complaint("[1e400]");
  EXPECT_NE(complaint("[-1e400]").find("too large"), std::string::npos);
  EXPECT_EQ(complaint("[1e-400, 18446744073709551615, -9223372036854775808]"), "accepted");
}

TEST(Json, ABigObjectIsReadInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 150000; ++i) text += cat(i ? "," : "", "\"token", i, "\":", i);
  const Json value = parse_json(text + "}", "vocab.json");
  EXPECT_EQ(value.size(), 150000u);
  EXPECT_EQ(value.back(), 149999);
}

TEST(Json, WritesAsPythonDoes) {
  // python3 -c 'import json; print(json.dumps({...}, indent=2, ensure_ascii=False))'
  const Json value = parse_json(
      R"({"a": [], "b": {}, "c": [1, 2.0, 1e-05, 1e15, 1e16, 0.1, 123456.789], "d": "ä\n\u0001\"/",
          "e": {"f": false}, "g": 1e-4, "h": 5e-324})",
      "x");
  EXPECT_EQ(dump_json(value, 2), R"({
  "a": [],
  "b": {},
  "c": [
    1,
    2.0,
    1e-05,
    1000000000000000.0,
    1e+16,
    0.1,
    123456.789
  ],
  "d": "ä\n\u0001\"/",
  "e": {
    "f": false
  },
  "g": 0.0001,
  "h": 5e-324
})");
}

TEST(Json, BadBytesBecomeTheReplacementCharacter) {
  EXPECT_EQ(dump_json(Json("a\xFF")), "\"a\xEF\xBF\xBD\"");
}

TEST(Json, AMissingFileIsMissingInput) {
  try {
    read_json("/nonexistent/x.json");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), Exit::missing_input);
  }
}

}  // namespace
}  // namespace nibble
