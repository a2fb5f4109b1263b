// nibble bench tokenize: how fast a tokenizer encodes, on one thread and on several.
#pragma once

#include <string>
#include <vector>

namespace nibble {

int run_bench_tokenize(const std::vector<std::string>& arguments);

}  // namespace nibble
