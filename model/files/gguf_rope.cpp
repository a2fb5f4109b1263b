// Llama 3's scaling comes as a divisor for every frequency; the four numbers of config.json that
// make these divisors are found again and must make every one of them.
#include "model/files/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/errors.h"

namespace nibble {
namespace {

constexpr double kPi = 3.14159265358979323846;

const GgufTensor* tensor_of(const Gguf& file, std::string_view name) {
  for (const GgufTensor& t : file.tensors)
    if (t.name == name) return &t;
  return nullptr;
}

bool same_factors(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::fabs(a[i] - b[i]) <= 2e-6f * std::fabs(b[i]))) return false;
  return true;
}

// (factor, low, high, original) that make these divisors.
struct Llama3 {
  double factor, low, high, original;
};

std::vector<Llama3> candidates(const std::vector<float>& f, double theta, int64_t rotary) {
  const double factor = as_decimal(*std::max_element(f.begin(), f.end()));
  std::vector<Llama3> all;
  // Lengths of training that occur; 8192 is Llama 3's.
  all.push_back({factor, 1, 4, 8192});
  for (double original = 64; original <= (1 << 22); original *= 2)
    all.push_back({factor, 1, 4, original});
  // In between, 1/divisor is linear in 1/wavelength: two points give both ends of the slope, one
  // is enough for the usual ends.
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < f.size(); ++i) {
    if (!(f[i] > 1) || !(f[i] < factor)) continue;
    const double turns =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary)) / (2 * kPi);
    points.emplace_back(turns, (1.0 / f[i] - 1 / factor) / (1 - 1 / factor));
  }
  if (points.empty()) return all;
  const auto& p = points.front();
  const auto& q = points.back();
  all.push_back({factor, 1, 4, std::round((1 + 3 * p.second) / p.first)});
  if (points.size() == 1) return all;
  const double slope = (p.second - q.second) / (p.first - q.first);
  const double offset = slope * p.first - p.second;  // low / (high - low)
  if (!(offset > 0) || !(slope > 0)) return all;
  const double high = std::round((1 + 1 / offset) * 1000) / 1000;
  all.push_back({factor, 1, high, std::round(slope * (high - 1))});
  return all;
}

void read_llama3(const Gguf& file, const GgufTensor& tensor, const ReadFactors& factors,
                 int64_t rotary, Json& config) {
  const std::vector<float> f = factors(tensor);
  const double theta = config.value("rope_theta", 10000.0);
  if (static_cast<int64_t>(f.size()) == rotary / 2 && !f.empty()) {
    for (const Llama3& c : candidates(f, theta, rotary)) {
      if (!same_factors(llama3_factors(theta, rotary, c.factor, c.low, c.high, c.original), f))
        continue;
      config["rope_scaling"] = {
          {"rope_type", "llama3"},
          {"factor", c.factor},
          {"low_freq_factor", c.low},
          {"high_freq_factor", c.high},
          {"original_max_position_embeddings", static_cast<int64_t>(c.original)}};
      return;
    }
  }
  throw UserError(cat(file.path, ": tensor '", tensor.name, "'"),
                  "holds frequency factors that are not Llama 3's",
                  "factors of another kind are not supported", Exit::bad_data);
}

void read_longrope(const Gguf& file, const GgufArchitecture& a, const ReadFactors& factors,
                   int64_t rotary, Json& config) {
  Json scaling = {{"rope_type", "longrope"}};
  for (const auto& [name, key] : {std::pair("rope_factors_short.weight", "short_factor"),
                                  std::pair("rope_factors_long.weight", "long_factor")}) {
    const GgufTensor* t = tensor_of(file, name);
    if (t == nullptr)
      throw UserError(file.path, cat("has no tensor '", name, "'"),
                      "longrope needs both lists of factors", Exit::bad_data);
    const std::vector<float> f = factors(*t);
    if (static_cast<int64_t>(f.size()) != rotary / 2)
      throw UserError(cat(file.path, ": tensor '", name, "'"),
                      cat("has ", f.size(), " factors for ", rotary / 2, " frequencies"), "",
                      Exit::bad_data);
    for (const float x : f) scaling[key].push_back(as_decimal(x));
  }
  const std::string original = cat(a.name, ".rope.scaling.original_context_length");
  if (const auto n = file.integer(original)) config["original_max_position_embeddings"] = *n;
  config["rope_scaling"] = std::move(scaling);
}

void read_scaling_type(const Gguf& file, const GgufArchitecture& a, const std::string& type,
                       Json& config) {
  const auto key = [&](const char* name) { return cat(a.name, ".rope.scaling.", name); };
  const auto factor = file.number(key("factor"));
  Json scaling = {{"rope_type", type}};
  if (!factor) file.refuse(key("factor"), cat("is missing, scaling is '", type, "'"));
  scaling["factor"] = as_decimal(*factor);
  if (type == "yarn") {
    if (const auto n = file.integer(key("original_context_length")))
      scaling["original_max_position_embeddings"] = *n;
    for (const auto& [gguf, hf] :
         {std::pair("yarn_beta_fast", "beta_fast"), std::pair("yarn_beta_slow", "beta_slow"),
          std::pair("yarn_attn_factor", "attention_factor")})
      if (const auto x = file.number(key(gguf))) scaling[hf] = as_decimal(*x);
  }
  config["rope_scaling"] = std::move(scaling);
}

// The share of a head that turns, under the name its family has for it.
const char* partial_key(const GgufArchitecture& a) {
  return std::string_view(a.name) == "gptneox" ? "rotary_pct" : "partial_rotary_factor";
}

std::vector<float> floats(const std::vector<double>& x) { return {x.begin(), x.end()}; }

}  // namespace

std::vector<float> llama3_factors(double theta, int64_t rotary, double factor, double low,
                                  double high, double original) {
  std::vector<float> out;
  for (int64_t i = 0; i < rotary / 2; ++i) {
    const double frequency =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
    const double length = 2 * kPi / frequency;
    double divisor = 1;
    if (length > original / low) {
      divisor = factor;
    } else if (!(length < original / high)) {
      const double smooth = (original / length - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

void read_gguf_rope(const Gguf& file, const GgufArchitecture& a, const HeadSizes& sizes,
                    const ReadFactors& factors, Json& config) {
  const auto key = [&](const char* name) { return cat(a.name, ".rope.", name); };
  if (const auto theta = file.number(key("freq_base")))
    config[std::string_view(a.name) == "gptneox" ? "rotary_emb_base" : "rope_theta"] =
        as_decimal(*theta);
  if (const auto local = file.number(key("freq_base_swa")))
    config["rope_local_base_freq"] = as_decimal(*local);
  const int64_t rotary = file.integer(key("dimension_count")).value_or(sizes.head_dim);
  if (rotary <= 0 || rotary > sizes.head_dim || rotary % 2 != 0)
    file.refuse(key("dimension_count"),
                cat("is ", rotary, ", heads are ", sizes.head_dim, " wide"));
  if (rotary != sizes.head_dim || std::string_view(a.name) == "gptneox" ||
      std::string_view(a.name) == "glm4" || std::string_view(a.name) == "stablelm" ||
      std::string_view(a.name) == "phi2")
    config[partial_key(a)] = static_cast<double>(rotary) / static_cast<double>(sizes.head_dim);
  const std::string type = file.text(key("scaling.type")).value_or("none");
  const auto linear = file.number(key("scale_linear"));
  if (const GgufTensor* t = tensor_of(file, "rope_freqs.weight")) {
    read_llama3(file, *t, factors, rotary, config);
  } else if (tensor_of(file, "rope_factors_long.weight") != nullptr || type == "longrope") {
    read_longrope(file, a, factors, rotary, config);
  } else if (type == "linear" || type == "yarn") {
    read_scaling_type(file, a, type, config);
  } else if (linear && *linear != 1) {
    config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", as_decimal(*linear)}};
  } else if (type != "none") {
    file.refuse(key("scaling.type"), cat("is '", type, "'"),
                "none, linear, yarn and longrope are known");
  }
}

void write_gguf_rope(const Blueprint& b, const std::string& where, const GgufArchitecture& a,
                     GgufConfig& out) {
  if (b.positions != Positions::rotary) return;
  const RopeBlueprint& rope = b.ropes[0];
  const auto add = [&](const char* name, GgufValue value) {
    out.metadata.emplace_back(cat(a.name, ".rope.", name), std::move(value));
  };
  const auto refuse = [&](std::string what) {
    throw UserError(where, cat(what, " has no place in a GGUF file"),
                    "default, linear, yarn, llama3 and longrope scalings do", Exit::bad_data);
  };
  add("freq_base", GgufValue::f32(rope.theta));
  add("dimension_count", GgufValue::u32(rope.rotary));
  if (rope.scaling == RopeScaling::none) return;
  if (rope.scaling == RopeScaling::dynamic) refuse("rope type 'dynamic'");
  if (rope.scaling == RopeScaling::llama3) {
    out.factors.emplace_back(
        "rope_freqs.weight",
        llama3_factors(rope.theta, rope.rotary, rope.factor, rope.low_freq_factor,
                       rope.high_freq_factor, static_cast<double>(rope.original_positions)));
    return;
  }
  add("scaling.type", GgufValue::of(std::string(name_of(rope.scaling))));
  if (rope.scaling != RopeScaling::longrope) add("scaling.factor", GgufValue::f32(rope.factor));
  if (rope.original_positions > 0)
    add("scaling.original_context_length", GgufValue::u32(rope.original_positions));
  if (rope.scaling == RopeScaling::yarn) {
    const double usual = rope.factor > 1 ? 0.1 * std::log(rope.factor) + 1 : 1;
    if (std::fabs(rope.attention_factor - usual) > 1e-6 || !rope.truncate)
      refuse("yarn with an attention factor of its own, or without truncation,");
    add("scaling.yarn_beta_fast", GgufValue::f32(rope.beta_fast));
    add("scaling.yarn_beta_slow", GgufValue::f32(rope.beta_slow));
  }
  if (rope.scaling != RopeScaling::longrope) return;
  add("scaling.attn_factor", GgufValue::f32(rope.attention_factor));
  out.factors.emplace_back("rope_factors_short.weight", floats(rope.short_factor));
  out.factors.emplace_back("rope_factors_long.weight", floats(rope.long_factor));
}

}  // namespace nibble
