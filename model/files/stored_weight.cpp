#include "model/files/stored_weight.h"

#include "base/errors.h"
#include "base/files.h"
#include "quant/int8_state.h"

namespace nibble {
namespace {

// With its dot.
std::string prefix_of(const std::string& name) {
  check(ends_with(name, "weight"), cat("a weight's name: ", name));
  return name.substr(0, name.size() - std::string("weight").size());
}

}  // namespace

Stored stored_as(const TensorFiles& files, const TensorInfo& weight) {
  if (!ends_with(weight.name, ".weight")) return Stored::plain;
  if (weight.dtype == DType::i8 && files.find(weight.name + ".absmax") == nullptr)
    return Stored::eight_bit;
  return has_quant_state(prefix_of(weight.name), files.names_below(weight.name + "."))
             ? Stored::four_bit
             : Stored::plain;
}

std::vector<std::string> parts_of(const TensorFiles& files, const TensorInfo& weight) {
  std::vector<std::string> names{weight.name};
  const Stored as = stored_as(files, weight);
  if (as == Stored::four_bit)
    for (const std::string& name : files.names_below(weight.name + ".")) names.push_back(name);
  if (as == Stored::eight_bit)
    for (const char* part : {"SCB", "weight_format"}) {
      const std::string name = prefix_of(weight.name) + part;
      if (files.find(name) != nullptr) names.push_back(name);
    }
  return names;
}

Weight read_stored(const Device& device, const TensorFiles& files, const TensorInfo& weight,
                   int64_t out, int64_t in, std::optional<double> threshold, Purpose purpose) {
  const std::string where = files.where(weight);
  TensorSource source;
  source.file = where.substr(0, where.size() - std::min(where.size(), weight.name.size() + 2));
  source.names = parts_of(files, weight);
  source.tensor = [&](std::string_view name) { return files.read(name, device.memory(), purpose); };
  const std::string prefix = prefix_of(weight.name);
  return stored_as(files, weight) == Stored::eight_bit
             ? read_int8_state(device, prefix, source, out, in, threshold, purpose)
             : read_quant_state(device, prefix, source, out, in, purpose);
}

NamedTensors stored_tensors(const Device& device, const std::string& name, const Weight& weight,
                            std::optional<DType> storage) {
  if (rule_of(weight.format).rows) return write_int8_state(device, prefix_of(name), weight);
  return write_quant_state(device, prefix_of(name), weight, storage);
}

}  // namespace nibble
