// NFC against utf8proc's own normalization of the whole text.
#include "model/text/normalize.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>

#include "model/text/utf8.h"

namespace nibble::text {
namespace {

std::string whole_nfc(const std::string& text) {
  utf8proc_uint8_t* made = nullptr;
  const auto bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &made,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  EXPECT_GE(bytes, 0);
  std::string out(reinterpret_cast<char*>(made), static_cast<size_t>(bytes));
  std::free(made);
  return out;
}

TEST(Nfc, IsTheSameInStretchesAsForTheWholeText) {
  // Letters and marks that combine, composed ones, Hangul in parts and whole, Indic vowels in two
  // parts, characters whose composition is excluded, and others that stay.
  const uint32_t characters[] = {
      'a',    'e',     'x',     0xE9,    0x1EC7,  0x301,  0x323,  0x302,  0x308,  0x345,   0x1100,
      0x1161, 0x11A8,  0xAC00,  0xAC01,  0x9C7,   0x9BE,  0x9CB,  0xDD9,  0xDCF,  0xDCA,   0xDDD,
      0x958,  0x915,   0x93C,   0x212B,  0x4E2D,  0xF900, 0x3B1,  0x3B9,  0x1FB7, 0x5D0,   0x5B7,
      0xFB2E, 0x1D15E, 0x11131, 0x11127, 0x1112E, 0x304B, 0x3099, 0x304C, 0x2019, 0x1F600, 0x2ADC};
  std::mt19937 random(8);
  for (int i = 0; i < 60'000; ++i) {
    std::string text;
    for (size_t n = random() % 9; n > 0; --n) {
      append_character(text, characters[random() % std::size(characters)]);
    }
    ASSERT_EQ(unicode_normalize(text, UnicodeForm::nfc), whole_nfc(text)) << text;
  }
}

TEST(Nfc, ChangesEachCharacterBehindAnyOtherAsTheWholeTextWould) {
  for (const uint32_t before :
       {uint32_t{'e'}, uint32_t{0x1100}, uint32_t{0xAC00}, uint32_t{0x9C7}}) {
    for (uint32_t code = 0x80; code < 0x30000; ++code) {
      if (code == 0x11A7) continue;  // before a Hangul jamo by one: utf8proc 2.8 loses it
      if ((code >= 0xD800 && code < 0xE000) || changed_after_unicode_9(code)) continue;
      std::string text;
      append_character(text, before);
      append_character(text, code);
      ASSERT_EQ(unicode_normalize(text, UnicodeForm::nfc), whole_nfc(text)) << std::hex << code;
    }
  }
}

TEST(Nfc, KeepsTheCharacterBeforeTheTrailingJamo) {
  const std::string text = "\xEA\xB0\x80\xE1\x86\xA7";  // U+AC00 U+11A7
  EXPECT_EQ(unicode_normalize(text, UnicodeForm::nfc), text);
}

}  // namespace
}  // namespace nibble::text
