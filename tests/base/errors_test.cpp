// The look of a mistake, letter by letter.
#include "base/errors.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(Errors, AMistakeShowsPlaceLineCaretAndCure) {
  const UserError error(Where{"recipe.yaml", 7, 1, "learning_rat: 2e-4", 12},
                        "unknown key 'learning_rat'", "did you mean 'learning_rate'?");
  EXPECT_EQ(error.render(),
            "recipe.yaml:7:1: unknown key 'learning_rat'\n"
            "  7 | learning_rat: 2e-4\n"
            "    | ^^^^^^^^^^^^ did you mean 'learning_rate'?");
  EXPECT_STREQ(error.what(),
               "recipe.yaml:7:1: unknown key 'learning_rat' (did you mean 'learning_rate'?)");
  EXPECT_EQ(error.code(), Exit::usage);
}

TEST(Errors, TheCaretStandsUnderTheValue) {
  const UserError error(Where{"recipe.yaml", 12, 10, "lora_r:  0", 1},
                        "lora_r must be at least 1, got 0");
  EXPECT_EQ(error.render(),
            "recipe.yaml:12:10: lora_r must be at least 1, got 0\n"
            " 12 | lora_r:  0\n"
            "    |          ^");
}

TEST(Errors, AMistakeWithoutALineIsASentenceAndACure) {
  EXPECT_EQ(UserError("out", "exists already", "remove it").render(),
            "out: exists already\n  remove it");
  EXPECT_EQ(UserError("", "nothing to do").render(), "nothing to do");
}

TEST(Errors, ColumnsCountCharactersAndTabsAreOneWide) {
  const UserError error(Where{"f", 1, 5, "\tä: x", 1}, "bad");
  EXPECT_EQ(error.render(), "f:1:5: bad\n  1 |  ä: x\n    |     ^");
}

TEST(Errors, ALongLineIsShownAroundItsMistake) {
  const UserError error(Where{"f", 1, 301, std::string(300, 'a') + "X" + std::string(300, 'b'), 1},
                        "bad");
  const std::string out = error.render();
  const std::vector<std::string> lines = split(out, '\n');
  ASSERT_EQ(lines.size(), 3u);
  // The ellipsis takes three bytes and one column.
  EXPECT_EQ(lines[1].find('X') - 2, lines[2].find('^'));
  EXPECT_LE(lines[1].size(), 84u);
}

TEST(Errors, ControlCharactersNeverReachTheTerminal) {
  EXPECT_EQ(UserError(Where{"f", 1, 1, "\x1b[31m", 1}, "bad").render().find('\x1b'),
            std::string::npos);
}

TEST(Errors, AllMistakesAreCountedAtTheEnd) {
  const UserError one("a", "x"), two("b", "y");
  EXPECT_EQ(UserErrors({one, two}).render(), "a: x\nb: y\n2 mistakes, nothing was started.");
  EXPECT_EQ(UserErrors({one}).render(), "a: x\n1 mistake, nothing was started.");
}

TEST(Errors, ACheckNamesBothValuesAndTheFile) {
  try {
    check_eq(3, 4, "linear: input width");
    FAIL();
  } catch (const Bug& bug) {
    const std::string what = bug.what();
    EXPECT_NE(what.find("linear: input width: 3 is not 4 (base/errors_test.cpp:"),
              std::string::npos)
        << what;
  }
  EXPECT_NO_THROW(check(true, "fine"));
}

}  // namespace
}  // namespace nibble
