// Its blocks are of 256 elements, whatever ours are.
#include "optim/bnb_state.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "quant/blockwise.h"

namespace nibble {
namespace {

constexpr int64_t kBlock = 256;
constexpr std::string_view kMark = "__bnb_optimizer_quant_state__.";

[[noreturn]] void refuse(const std::string& name, const std::string& what,
                         const std::string& hint) {
  throw UserError("optimizer state of bitsandbytes", cat("\"", name, "\" ", what), hint,
                  Exit::bad_data);
}

bool is_theirs(std::string_view key) {
  for (const char* known :
       {"state1", "state2", "absmax1", "absmax2", "qmap1", "qmap2", "step", "unorm_vec"}) {
    if (key == known) return true;
  }
  return false;
}

// "layer.weight", "state1" of "layer.weight.__bnb_optimizer_quant_state__.state1".
std::pair<std::string, std::string> split_name(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return {"", name};
  std::string parameter = name.substr(0, dot + 1);
  if (ends_with(parameter, kMark)) parameter.resize(parameter.size() - kMark.size());
  if (!parameter.empty() && parameter.back() == '.') parameter.pop_back();
  return {parameter, name.substr(dot + 1)};
}

// Of the layout's name: what stands before its last dot.
std::string parameter_of(const StateLayout& s) { return s.name.substr(0, s.name.rfind('.')); }

class Importer {
 public:
  Importer(const Ctx& ctx, const NamedTensors& tensors) : ctx_(ctx) {
    for (const auto& [name, tensor] : tensors) {
      const auto [parameter, key] = split_name(name);
      if (!is_theirs(key)) {
        refuse(name, "is no tensor of an optimizer", "import its state_dict as it was saved");
      }
      if (!all_[parameter].emplace(key, tensor).second) {
        refuse(name, "is there twice", "import its state_dict as it was saved");
      }
    }
  }

  void take(const StateGroup& group, NamedTensors& out) {
    if (group.states.empty()) return;
    const std::string parameter = parameter_of(group.states[0]);
    if (all_.count(parameter) == 0) {
      refuse(parameter, "has no state there", "name tensors as the parameters of this run");
    }
    // Two means are stacked in state1; a single state is in state1 whatever it holds.
    const size_t means = group.states.size() == 3 ? 2 : 1;
    for (size_t k = 0; k < group.states.size(); ++k) {
      const bool second = k >= means;
      const auto row = static_cast<int64_t>(second ? 0 : k);
      append(group, group.states[k], parameter, second ? "2" : "1", row,
             second ? 1 : static_cast<int64_t>(means), out);
    }
    used_.push_back(parameter);
  }

  void finish() {
    for (const std::string& parameter : used_) all_.erase(parameter);
    if (all_.empty()) return;
    refuse(all_.begin()->first, "belongs to no parameter that trains",
           "train the parameters that the state is of");
  }

 private:
  const Tensor& tensor(const std::string& parameter, const std::string& key, DType dtype,
                       int64_t elements) const {
    const auto& keys = all_.at(parameter);
    const auto found = keys.find(key);
    const std::string name = cat(parameter, ".", key);
    if (found == keys.end()) {
      refuse(name, "is missing", "import the whole state of the same optimizer");
    }
    const Tensor& t = found->second;
    if (t.dtype() != dtype || t.numel() != elements || !t.contiguous()) {
      refuse(name,
             cat("is ", name_of(t.dtype()), " ", t.shape(), ", expected ", name_of(dtype), " with ",
                 elements, " elements"),
             "import the state of the same optimizer, its codes in blocks of 256");
    }
    return t;
  }

  // The map that codes point into must be one of ours, value for value.
  const float* map_of(const std::string& parameter, const std::string& key) const {
    const Tensor& map = tensor(parameter, key, DType::f32, 256);
    for (const float* known : {dynamic_signed_map(), dynamic_unsigned_map()}) {
      if (std::equal(known, known + 256, map.data<float>())) return known;
    }
    refuse(cat(parameter, ".", key), "is another map than bitsandbytes' dynamic ones",
           "only states in its own maps can be imported");
  }

  void append(const StateGroup& group, const StateLayout& s, const std::string& parameter,
              const std::string& which, int64_t row, int64_t rows, NamedTensors& out) const {
    const int64_t n = group.elements;
    const auto& keys = all_.at(parameter);
    const auto found = keys.find("state" + which);
    const bool coded = found != keys.end() && found->second.dtype() == DType::u8;
    const Tensor& theirs =
        tensor(parameter, "state" + which, coded ? DType::u8 : DType::f32, rows * n);
    if (!coded) {
      put(s, theirs.data<float>() + row * n, out);
      return;
    }
    const float* map = map_of(parameter, "qmap" + which);
    const int64_t blocks = (n + kBlock - 1) / kBlock;
    const float* absmax =
        tensor(parameter, "absmax" + which, DType::f32, rows * blocks).data<float>() + row * blocks;
    const uint8_t* codes = theirs.data<uint8_t>() + row * n;
    if (s.coded() && !s.root && s.map == map && s.block == kBlock) {  // the same thing
      const Tensor kept = ctx_.empty(s.shape, DType::u8, Purpose::staging);
      const Tensor scales = ctx_.empty({blocks}, DType::f32, Purpose::staging);
      std::copy_n(codes, n, kept.data<uint8_t>());
      std::copy_n(absmax, blocks, scales.data<float>());
      out.emplace_back(s.name, kept);
      out.emplace_back(s.absmax_name(), scales);
      return;
    }
    const Tensor values = ctx_.empty({n}, DType::f32, Purpose::staging);
    ctx_.k.dequantize_8bit(ctx_.stream, n, codes, kBlock, map, absmax, DType::f32, values.raw());
    ctx_.stream.wait();
    put(s, values.data<float>(), out);
  }

  // fp32 values in the format of `s`.
  void put(const StateLayout& s, const float* values, NamedTensors& out) const {
    const int64_t n = s.shape.numel();
    const Tensor held = ctx_.empty(s.shape, DType::f32, Purpose::staging);
    for (int64_t i = 0; i < n; ++i) {
      held.data<float>()[i] = s.root ? std::sqrt(std::max(0.0F, values[i])) : values[i];
    }
    if (!s.coded()) {
      out.emplace_back(s.name, held);
      return;
    }
    const Tensor codes = ctx_.empty(s.shape, DType::u8, Purpose::staging);
    const Tensor absmax = ctx_.empty({s.blocks(n)}, DType::f32, Purpose::staging);
    ctx_.k.quantize_8bit(ctx_.stream, n, DType::f32, held.raw(), s.block, s.map,
                         codes.data<uint8_t>(), absmax.data<float>());
    ctx_.stream.wait();
    if (s.root) keep_above_zero(held.data<float>(), n, codes.data<uint8_t>());
    out.emplace_back(s.name, codes);
    out.emplace_back(s.absmax_name(), absmax);
  }

  static void keep_above_zero(const float* held, int64_t n, uint8_t* codes) {
    for (int64_t i = 0; i < n; ++i) {
      if (held[i] > 0 && codes[i] == 0) codes[i] = 1;
    }
  }

  const Ctx& ctx_;
  std::map<std::string, std::map<std::string, Tensor>> all_;
  std::vector<std::string> used_;
};

}  // namespace

bool is_bnb_state(const NamedTensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const auto& named) { return split_name(named.first).second == "state1"; });
}

NamedTensors from_bnb_state(const Ctx& ctx, const NamedTensors& tensors,
                            const std::vector<StateGroup>& groups) {
  Importer importer(ctx, tensors);
  NamedTensors out;
  for (const StateGroup& group : groups) importer.take(group, out);
  importer.finish();
  return out;
}

}  // namespace nibble
