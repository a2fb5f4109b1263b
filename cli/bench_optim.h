// nibble bench optim: how fast optimizer steps are, beside what the machine can do.
#pragma once

#include <string>
#include <vector>

namespace nibble {

int run_bench_optim(const std::vector<std::string>& arguments);

}  // namespace nibble
