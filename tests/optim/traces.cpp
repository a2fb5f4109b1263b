// Reading the traces: enough of safetensors for trusted files, and their list.
#include "tests/optim/traces.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/json.h"

namespace nibble::testing {

Trace read_trace(const std::string& path) {
  std::ostringstream text;
  std::ifstream in(path, std::ios::binary);
  text << in.rdbuf();
  const std::string file = text.str();
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  Trace trace;
  const Json list = parse_json(file.substr(8, header), path);
  for (const auto& [name, entry] : list.items()) {
    if (name == "__metadata__") continue;
    const uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    trace[name] = {entry["dtype"], file.substr(8 + header + begin, end - begin)};
  }
  return trace;
}

Traces read_traces(const std::string& directory) {
  const Json list = read_json(directory + "/cases.json");
  Traces all;
  all.seed = list["seed"];
  all.sizes[0] = list["n_big"];
  all.sizes[1] = list["n_small"];
  for (const Json& c : list["cases"]) {
    const Json& hyper = c.contains("hyper") ? c["hyper"] : c;
    if (!hyper.is_object() || !hyper.contains("betas") || !hyper.contains("eps")) continue;
    TraceCase one;
    one.lr = hyper["lr"];
    one.beta1 = hyper["betas"][0];
    one.beta2 = hyper["betas"][1];
    one.eps = hyper["eps"];
    one.weight_decay = hyper["weight_decay"];
    one.gradient_scale = c.value("gnorm_scale", 1.0);
    all.cases[c["file"]] = one;
  }
  return all;
}

}  // namespace nibble::testing
