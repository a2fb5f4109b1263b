// The filters (x | name) and tests (x is name) a template may use: all of Jinja2's but those that
// need HTML, chance or a pretty-printer, with tojson as transformers overrides it.
#pragma once

#include <string_view>

#include "model/text/jinja_value.h"

namespace nibble::jinja {

using Filter = Value (*)(const Value& input, Call& call);
using Test = bool (*)(const Value& input, Call& call);

Filter find_filter(std::string_view name);  // null when there is none
Test find_test(std::string_view name);

struct FilterRow {
  std::string_view name;
  Filter filter;
};
Filter find_text_filter(std::string_view name);      // jinja_filters.cpp
Filter find_sequence_filter(std::string_view name);  // jinja_filter_sequences.cpp

}  // namespace nibble::jinja
