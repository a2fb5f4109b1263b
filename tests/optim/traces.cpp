// Reading the traces: enough of safetensors for trusted files, and their list.
#include "tests/optim/traces.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/json.h"
#include "kernels/float_types.h"

namespace nibble::testing {

int64_t TraceTensor::size() const {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

float TraceTensor::at(int64_t i) const {
  return dtype == "BF16" ? widen(data<bf16>()[i]) : data<float>()[i];
}

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
    trace[name] = {entry["dtype"], entry["shape"].get<std::vector<int64_t>>(),
                   file.substr(8 + header + begin, end - begin)};
  }
  return trace;
}

namespace {

// "own_adam8_nowd_gscale": adam, 8 bits.
void read_name(TraceCase& c) {
  std::string name = c.file;
  for (const char* before : {"own_", "paged_"}) {
    if (starts_with(name, before)) name = name.substr(std::strlen(before));
  }
  const size_t digit = name.find_first_of("0123456789");
  c.rule = name.substr(0, digit);
  c.bits = digit != std::string::npos && name[digit] == '8' ? 8 : 32;
}

void read_numbers(const Json& hyper, TraceCase& c) {
  const auto set = [&](const char* key, std::optional<double>& into) {
    if (hyper.contains(key)) into = hyper[key].get<double>();
  };
  RuleOptions& o = c.numbers;
  c.lr = hyper["lr"];
  c.weight_decay = hyper.value("weight_decay", 0.0);
  for (const auto& [key, into] :
       {std::pair("eps", &o.eps), std::pair("momentum", &o.momentum), std::pair("alpha", &o.alpha),
        std::pair("t_alpha", &o.t_alpha), std::pair("t_beta3", &o.t_beta3),
        std::pair("max_unorm", &o.max_unorm)}) {
    set(key, *into);
  }
  if (!hyper.contains("betas")) return;
  const std::vector<double> betas = hyper["betas"];
  if (c.rule == "sgd") {  // written into the slots of bitsandbytes' kernels
    o.momentum = betas[0];
  } else if (c.rule == "rmsprop") {
    o.alpha = betas[0];
  } else if (c.rule != "adagrad") {
    o.beta1 = betas[0], o.beta2 = betas[1];
    if (betas.size() > 2) o.beta3 = betas[2];
  }
}

}  // namespace

Traces read_traces(const std::string& directory) {
  const Json list = read_json(directory + "/cases.json");
  Traces all;
  all.seed = list["seed"];
  all.parts["big"] = {0, list["n_big"]};
  all.parts["small"] = {1, list["n_small"]};
  for (const int64_t step : list["snapshots"]) all.steps = std::max(all.steps, step);
  for (const Json& c : list["cases"]) {
    TraceCase one;
    one.file = c["file"];
    one.own = c["reference"] == "own numpy";
    one.refused = c.contains("refused");
    one.dtype = c.value("dtype", "float32") == "bfloat16" ? DType::bf16 : DType::f32;
    one.gradient_scale = c.value("gnorm_scale", 1.0);
    read_name(one);
    const Json& hyper = c.contains("hyper") ? c["hyper"] : c;
    if (hyper.is_object()) read_numbers(hyper, one);  // else "defaults": those of Adam
    all.cases.push_back(one);
  }
  return all;
}

}  // namespace nibble::testing
