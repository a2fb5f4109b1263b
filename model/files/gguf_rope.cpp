// Llama 3's scaling comes as a divisor for every frequency; the four numbers of config.json that
// make these divisors are found again and must make every one of them.
#include "model/files/gguf_rope.h"

#include <charconv>
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

double shortest(double x) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(x));
  double out = x;
  std::from_chars(text, end.ptr, out);
  return out;
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

std::vector<Llama3> candidates(const std::vector<float>& f, double theta, int64_t rotary,
                               double context) {
  const double factor = shortest(*std::max_element(f.begin(), f.end()));
  std::vector<Llama3> all;
  for (const double original : {8192.0, 16384.0, 4096.0, 32768.0, 2048.0, context})
    all.push_back({factor, 1, 4, original});
  // In between, 1/divisor is linear in 1/wavelength: two points give both ends of the slope.
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < f.size(); ++i) {
    if (!(f[i] > 1) || !(f[i] < factor)) continue;
    const double turns =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary)) / (2 * kPi);
    points.emplace_back(turns, (1.0 / f[i] - 1 / factor) / (1 - 1 / factor));
  }
  if (points.size() < 2) return all;
  const auto& p = points.front();
  const auto& q = points.back();
  const double slope = (p.second - q.second) / (p.first - q.first);
  const double offset = slope * p.first - p.second;  // low / (high - low)
  if (!(offset > 0) || !(slope > 0)) return all;
  const double high = std::round((1 + 1 / offset) * 1000) / 1000;
  all.push_back({factor, 1, high, std::round(slope * (high - 1))});
  return all;
}

void read_llama3(const Gguf& file, const GgufTensor& tensor, const ReadFactors& factors,
                 int64_t rotary, double context, Json& config) {
  const std::vector<float> f = factors(tensor);
  const double theta = config.value("rope_theta", 10000.0);
  if (static_cast<int64_t>(f.size()) == rotary / 2 && !f.empty()) {
    for (const Llama3& c : candidates(f, theta, rotary, context)) {
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
    for (const float x : f) scaling[key].push_back(shortest(x));
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
  scaling["factor"] = shortest(*factor);
  if (type == "yarn") {
    if (const auto n = file.integer(key("original_context_length")))
      scaling["original_max_position_embeddings"] = *n;
    for (const auto& [gguf, hf] :
         {std::pair("yarn_beta_fast", "beta_fast"), std::pair("yarn_beta_slow", "beta_slow"),
          std::pair("yarn_attn_factor", "attention_factor")})
      if (const auto x = file.number(key(gguf))) scaling[hf] = shortest(*x);
  }
  config["rope_scaling"] = std::move(scaling);
}

// The share of a head that turns, under the name its family has for it.
const char* partial_key(const GgufArchitecture& a) {
  return std::string_view(a.name) == "gptneox" ? "rotary_pct" : "partial_rotary_factor";
}

// config.json in one form: its rope settings as one object, whatever the generation of the file.
Json scaling_of(const Json& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (config.contains(key) && config[key].is_object()) return config[key];
  return Json::object();
}

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
        shortest(*theta);
  if (const auto local = file.number(key("freq_base_swa")))
    config["rope_local_base_freq"] = shortest(*local);
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
    read_llama3(file, *t, factors, rotary, config.value("max_position_embeddings", 0.0), config);
  } else if (tensor_of(file, "rope_factors_long.weight") != nullptr || type == "longrope") {
    read_longrope(file, a, factors, rotary, config);
  } else if (type == "linear" || type == "yarn") {
    read_scaling_type(file, a, type, config);
  } else if (linear && *linear != 1) {
    config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", shortest(*linear)}};
  } else if (type != "none") {
    file.refuse(key("scaling.type"), cat("is '", type, "'"),
                "none, linear, yarn and longrope are known");
  }
}

void write_gguf_rope(const Json& config, const std::string& where, const GgufArchitecture& a,
                     const HeadSizes& sizes, GgufConfig& out) {
  if (std::string_view(a.name) == "gpt2") return;
  const Json scaling = scaling_of(config);
  const auto number = [&](const char* name, double otherwise) {
    for (const Json* from : {&scaling, &config})
      if (from->contains(name) && (*from)[name].is_number()) return (*from)[name].get<double>();
    return otherwise;
  };
  const auto add = [&](const char* name, GgufValue value) {
    out.metadata.emplace_back(cat(a.name, ".rope.", name), std::move(value));
  };
  const double theta = number("rope_theta", number("rotary_emb_base", 10000.0));
  const double share = number(partial_key(a), number("partial_rotary_factor", 1.0));
  const auto rotary = static_cast<int64_t>(share * static_cast<double>(sizes.head_dim));
  add("freq_base", GgufValue::f32(theta));
  add("dimension_count", GgufValue::u32(rotary));
  std::string type = "default";
  for (const char* name : {"type", "rope_type"})
    if (scaling.contains(name) && scaling[name].is_string()) type = scaling[name];
  if (type == "default") return;
  if (type == "llama3") {
    out.factors.emplace_back(
        "rope_freqs.weight",
        llama3_factors(theta, rotary, number("factor", 8), number("low_freq_factor", 1),
                       number("high_freq_factor", 4),
                       number("original_max_position_embeddings", 8192)));
    return;
  }
  if (type != "linear" && type != "yarn" && type != "longrope" && type != "su")
    throw UserError(where, cat("rope type '", type, "' has no place in a GGUF file"),
                    "default, linear, yarn, llama3 and longrope do", Exit::bad_data);
  const bool longrope = type == "longrope" || type == "su";
  add("scaling.type", GgufValue::of(longrope ? std::string("longrope") : type));
  if (!longrope) add("scaling.factor", GgufValue::f32(number("factor", 1)));
  const double original = number("original_max_position_embeddings", 0);
  if (original > 0)
    add("scaling.original_context_length", GgufValue::u32(static_cast<int64_t>(original)));
  if (type == "yarn")
    for (const auto& [gguf, hf] : {std::pair("scaling.yarn_beta_fast", "beta_fast"),
                                   std::pair("scaling.yarn_beta_slow", "beta_slow"),
                                   std::pair("scaling.yarn_attn_factor", "attention_factor")})
      if (scaling.contains(hf) && scaling[hf].is_number())
        add(gguf, GgufValue::f32(scaling[hf].get<double>()));
  if (!longrope) return;
  const double stretch = number("max_position_embeddings", 0) / original;
  const double attention =
      stretch > 1 ? std::sqrt(1 + std::log(stretch) / std::log(original)) : 1.0;
  add("scaling.attn_factor", GgufValue::f32(attention));
  for (const auto& [tensor, key] : {std::pair("rope_factors_short.weight", "short_factor"),
                                    std::pair("rope_factors_long.weight", "long_factor")}) {
    if (!scaling.contains(key) || !scaling[key].is_array() ||
        static_cast<int64_t>(scaling[key].size()) != rotary / 2)
      throw UserError(where, cat("'", key, "' is not a list of ", rotary / 2, " factors"), "",
                      Exit::bad_data);
    std::vector<float> f;
    for (const Json& x : scaling[key]) f.push_back(x.get<float>());
    out.factors.emplace_back(tensor, std::move(f));
  }
}

}  // namespace nibble
