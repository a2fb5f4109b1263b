// nibble bench quant: how fast weights are coded and decoded, beside what the machine can do.
#pragma once

#include <string>
#include <vector>

namespace nibble {

int run_bench_quant(const std::vector<std::string>& arguments);

}  // namespace nibble
