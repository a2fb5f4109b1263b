// The many spellings of rotary positions: rope_theta beside rope_scaling {type | rope_type, …} as
// transformers 4 wrote them, everything inside rope_parameters as transformers 5 does, one set for
// all layers or one for each kind. Key meanings are those of transformers' modeling_rope_utils.
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "model/families/blocks.h"

namespace nibble {
namespace {

// Reads one object of rope keys, remembering which it understood.
class RopeKeys {
 public:
  RopeKeys(ConfigReader& config, std::string place, const Json& object)
      : config_(config), place_(std::move(place)), object_(object) {
    if (!object.is_object()) config.refuse(place_, "is not an object");
  }

  const Json* find(const std::string& key) {
    used_.insert(key);
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  double number(const std::string& key, double otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || !std::isfinite(value->get<double>()))
      refuse(key, cat("must be a number, got ", value->dump()));
    return value->get<double>();
  }
  double positive(const std::string& key, double otherwise) {
    const double value = number(key, otherwise);
    if (!(value > 0)) refuse(key, cat("must be positive, got ", value));
    return value;
  }
  int64_t positions(int64_t otherwise) {
    return static_cast<int64_t>(
        positive("original_max_position_embeddings", static_cast<double>(otherwise)));
  }
  std::vector<double> numbers(const std::string& key, size_t count) {
    const Json* value = find(key);
    if (value == nullptr || !value->is_array() || value->size() != count)
      refuse(key, cat("must be a list of ", count, " numbers, one for each pair of columns"));
    std::vector<double> all;
    for (const Json& x : *value) {
      if (!x.is_number() || !(x.get<double>() > 0))
        refuse(key, cat("holds ", x.dump(), ", not a positive number"));
      all.push_back(x.get<double>());
    }
    return all;
  }
  std::string type() {
    std::string name = "default";
    for (const char* key : {"type", "rope_type"})
      if (const Json* value = find(key)) {
        if (!value->is_string()) refuse(key, cat("must be a string, got ", value->dump()));
        name = value->get<std::string>();
      }
    return name;
  }
  void finish() {
    for (const auto& item : object_.items())
      if (used_.count(item.key()) == 0 && !item.value().is_null())
        refuse(item.key(), "could change this model's numbers and means nothing here",
               cat("nibble computes only what it knows of rope type '", type(), "'"));
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& what,
                           const std::string& hint = "") {
    config_.refuse(cat(place_, ".", key), what, hint);
  }

 private:
  ConfigReader& config_;
  std::string place_;
  const Json& object_;
  std::set<std::string> used_;
};

double yarn_attention(RopeKeys& keys, double factor) {
  const auto scale = [&](double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1; };
  const double mscale = keys.number("mscale", 0), all_dim = keys.number("mscale_all_dim", 0);
  const double inferred = mscale != 0 && all_dim != 0 ? scale(mscale) / scale(all_dim) : scale(1);
  return keys.positive("attention_factor", inferred);
}

double longrope_attention(RopeKeys& keys, double factor, int64_t original) {
  const double inferred =
      factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original)));
  return keys.positive("attention_factor", inferred);
}

// The scaling of one object; theta, rotary and pairing are set.
void read_scaling(RopeKeys& keys, const Blueprint& b, int64_t original, RopeBlueprint& rope) {
  const std::string type = keys.type();
  rope.original_positions = b.max_positions;
  const auto stretch = [&] {
    rope.original_positions = keys.positions(original);
    const double reach = static_cast<double>(b.max_positions);
    rope.factor = keys.positive("factor", reach / static_cast<double>(rope.original_positions));
  };
  if (type == "default") {
    // Left behind when a scaling was taken back; the plain frequencies do not read them.
    keys.find("original_max_position_embeddings");
    if (keys.number("factor", 1) != 1) keys.refuse("factor", "is given, but rope_type is default");
  } else if (type == "linear" || type == "dynamic") {
    rope.scaling = type == "linear" ? RopeScaling::linear : RopeScaling::dynamic;
    if (keys.find("factor") == nullptr) keys.refuse("factor", "is missing");
    rope.factor = keys.positive("factor", 1);
    keys.find("original_max_position_embeddings");
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    stretch();
    rope.low_freq_factor = keys.positive("low_freq_factor", 1);
    rope.high_freq_factor = keys.positive("high_freq_factor", 4);
    if (rope.high_freq_factor <= rope.low_freq_factor)
      keys.refuse("high_freq_factor", "must be above low_freq_factor");
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    stretch();
    rope.beta_fast = keys.positive("beta_fast", 32);
    rope.beta_slow = keys.positive("beta_slow", 1);
    if (const Json* value = keys.find("truncate")) {
      if (!value->is_boolean()) keys.refuse("truncate", "must be true or false");
      rope.truncate = value->get<bool>();
    }
    rope.attention_factor = yarn_attention(keys, rope.factor);
  } else if (type == "longrope" || type == "su") {
    rope.scaling = RopeScaling::longrope;
    stretch();
    const auto pairs = static_cast<size_t>(rope.rotary / 2);
    rope.short_factor = keys.numbers("short_factor", pairs);
    rope.long_factor = keys.numbers("long_factor", pairs);
    // Early files say how the factor on attention came about; it is the same formula.
    keys.find("short_mscale");
    keys.find("long_mscale");
    rope.attention_factor = longrope_attention(keys, rope.factor, rope.original_positions);
  } else {
    keys.refuse("rope_type", cat("is '", type, "'"),
                "default, linear, dynamic, llama3, yarn and longrope are supported");
  }
}

struct TopLevel {
  double theta, partial;
  int64_t original;
};

RopeBlueprint read_one(ConfigReader& config, const Blueprint& b, const std::string& place,
                       const Json& object, const TopLevel& top, bool interleaved) {
  RopeKeys keys(config, place, object);
  RopeBlueprint rope;
  rope.interleaved = interleaved;
  rope.theta = keys.positive("rope_theta", top.theta);
  const double partial = keys.positive("partial_rotary_factor", top.partial);
  rope.rotary = static_cast<int64_t>(static_cast<double>(b.head_dim) * partial);
  if (partial > 1 || rope.rotary < 2 || rope.rotary % 2 != 0)
    keys.refuse("partial_rotary_factor",
                cat("makes ", rope.rotary, " of ", b.head_dim,
                    " columns of a head turn: it must be an even number of them, at least 2"));
  read_scaling(keys, b, top.original, rope);
  keys.finish();
  return rope;
}

// How far positions reach with the scaling.
int64_t reach_of(const RopeBlueprint& rope, int64_t max_positions) {
  const auto times = [&](int64_t n) {
    return static_cast<int64_t>(static_cast<double>(n) * rope.factor);
  };
  if (rope.scaling == RopeScaling::linear || rope.scaling == RopeScaling::dynamic)
    return std::max(max_positions, times(max_positions));
  if (rope.scaling == RopeScaling::yarn)
    return std::max(max_positions, times(rope.original_positions));
  return max_positions;
}

}  // namespace

void read_rope(ConfigReader& config, Blueprint& b, const RopeDefaults& defaults) {
  TopLevel top;
  top.theta = config.number(defaults.theta_key, defaults.theta);
  top.partial = config.number(defaults.partial_key, defaults.partial);
  top.original = config.integer("original_max_position_embeddings", b.max_positions);
  if (!(top.theta > 0)) config.refuse(defaults.theta_key, cat("must be positive, got ", top.theta));
  const Json* scaling = config.raw("rope_scaling");
  const Json* parameters = config.raw("rope_parameters");
  if (scaling != nullptr && parameters != nullptr && *scaling != *parameters)
    config.refuse("rope_scaling", "and 'rope_parameters' say different things", "keep one of them");
  const Json none = Json::object();
  const std::string place = parameters != nullptr ? "rope_parameters" : "rope_scaling";
  const Json& given = parameters != nullptr ? *parameters : scaling != nullptr ? *scaling : none;
  const auto one = [&](const std::string& where, const Json& object, double theta) {
    TopLevel mine = top;
    mine.theta = theta;
    return read_one(config, b, where, object, mine, defaults.interleaved);
  };
  const double local = defaults.local_theta_key == nullptr
                           ? top.theta
                           : config.number(defaults.local_theta_key, defaults.local_theta);
  b.ropes.clear();
  if (given.is_object() &&
      (given.contains("full_attention") || given.contains("sliding_attention"))) {
    for (const auto& [kind, theta] :
         {std::pair("full_attention", top.theta), std::pair("sliding_attention", local)})
      b.ropes.push_back(one(cat(place, ".", kind),
                            given.contains(kind) && !given[kind].is_null() ? given[kind] : none,
                            theta));
    for (const auto& item : given.items()) {  // keys of another spelling are left behind here
      const std::string& key = item.key();
      if (key != "full_attention" && key != "sliding_attention" && key != "rope_theta" &&
          key != "rope_type")
        config.refuse(cat(place, ".", key), "stands beside the entries of each kind of layer");
    }
  } else {
    b.ropes.push_back(one(place, given, top.theta));
    if (defaults.scales_full_only) b.ropes.push_back(one("rope_theta", none, local));
  }
  b.max_positions = reach_of(b.ropes[0], b.max_positions);
}

}  // namespace nibble
