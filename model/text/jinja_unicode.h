// Strings as Python sees them: sequences of code points, with Unicode's idea of space, case and
// printable. All text is UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::jinja {

// As std::string::find, in time that grows with the sum of both sizes and not with their product.
size_t find_text(std::string_view text, std::string_view sub, size_t from);
char32_t next_point(std::string_view text, size_t& at);  // advances at; bad bytes count one each
void append_point(std::string& out, char32_t c);
int64_t count_points(std::string_view text);
bool is_ascii(std::string_view text);
std::u32string points(std::string_view text);
std::string utf8(std::u32string_view text);

bool is_space(char32_t c);        // str.isspace
bool is_printable(char32_t c);    // str.isprintable
bool is_cased_upper(char32_t c);  // str.isupper of one character
bool is_cased_lower(char32_t c);
bool is_title_case(char32_t c);
bool is_alphabetic(char32_t c);
bool is_decimal(char32_t c);  // str.isdecimal: category Nd
bool is_digit(char32_t c);    // also superscripts
bool is_numeric(char32_t c);
bool is_identifier_start(char32_t c);
bool is_identifier_part(char32_t c);
bool is_word(char32_t c);  // \w of Python's re

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);       // str.title
std::string capitalize(std::string_view text);  // str.capitalize
std::string case_fold(std::string_view text);   // str.casefold
std::string swap_case(std::string_view text);

std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
std::string strip_chars(std::string_view text, std::string_view chars, bool left, bool right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
std::string escape_html(std::string_view text);

}  // namespace nibble::jinja
