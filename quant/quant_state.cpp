// Reading trusts nothing: a code table, a shape or a key that is not what the format says would
// give a model of noise without a message.
#include "quant/quant_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/json.h"
#include "quant/blockwise.h"

namespace nibble {
namespace {

constexpr std::string_view kStateKey = "weight.quant_state.bitsandbytes__";

const char* const kCure = "the file is damaged or was not written by bitsandbytes";

// What the JSON says.
struct State {
  Format format = Format::nf4;
  int64_t block = 0, out = 0, in = 0;
  DType dtype = DType::f32;
  bool nested = false;
  int64_t nested_block = 0;
  float offset = 0;
};

struct Reader {
  const Backend& on;
  const TensorSource& source;
  std::string prefix;

  [[noreturn]] void fail(std::string_view key, const std::string& what,
                         std::string hint = kCure) const {
    throw UserError(source.file, cat(prefix, key, ": ", what), std::move(hint), Exit::bad_data);
  }

  bool has(std::string_view key) const {
    const std::string name = cat(prefix, key);
    return std::find(source.names.begin(), source.names.end(), name) != source.names.end();
  }

  Tensor get(std::string_view key) const {
    if (!has(key)) fail(key, "this tensor of a 4-bit weight is missing");
    return source.tensor(cat(prefix, key));
  }

  // A tensor of known dtype and length, at an address its type allows: files align only bytes.
  Tensor get(std::string_view key, DType dtype, int64_t numel, Purpose purpose) const {
    Tensor t = get(key);
    if (t.dtype() != dtype) {
      fail(key, cat("its dtype is ", name_of(t.dtype()), ", not ", name_of(dtype)));
    }
    if (t.numel() != numel) {
      fail(key, cat("it has ", t.numel(), " entries, the weight needs ", numel));
    }
    return aligned(t.reshape({numel}), purpose);
  }

  Tensor aligned(const Tensor& t, Purpose purpose) const {
    if (reinterpret_cast<uintptr_t>(t.raw()) % static_cast<size_t>(size_of(t.dtype())) == 0) {
      return t;
    }
    Tensor copy = Tensor::empty(on.memory, t.shape(), t.dtype(), purpose);
    std::memcpy(copy.raw(), t.raw(), static_cast<size_t>(t.bytes()));
    return copy;
  }
};

// The one key `prefix`weight.quant_state.bitsandbytes__<type>, relative to the prefix.
std::string state_key(const Reader& r) {
  std::string found;
  const std::string start = cat(r.prefix, kStateKey);
  for (const std::string& name : r.source.names) {
    if (!starts_with(name, start)) continue;
    const std::string key = name.substr(r.prefix.size());
    if (!found.empty()) r.fail(key, cat("the weight already has ", r.prefix, found));
    found = key;
  }
  if (found.empty()) r.fail(cat(kStateKey, "nf4"), "this tensor of a 4-bit weight is missing");
  return found;
}

void refuse_unknown_keys(const Reader& r, const std::string& state, bool nested) {
  std::vector<std::string> known = {"weight.absmax", "weight.quant_map", state};
  if (nested) known.insert(known.end(), {"weight.nested_absmax", "weight.nested_quant_map"});
  const std::string start = cat(r.prefix, "weight.");
  for (const std::string& name : r.source.names) {
    if (!starts_with(name, start)) continue;
    const std::string key = name.substr(r.prefix.size());
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const bool only_nested = !nested && starts_with(key, "weight.nested_");
    r.fail(key, only_nested ? cat("the scales are not nested, says ", r.prefix, state)
                            : std::string("unknown tensor beside a 4-bit weight"));
  }
}

int64_t block_size(const Reader& r, const std::string& key, const char* field, const Json& value) {
  const int64_t n = value.is_number_integer() ? value.get<int64_t>() : 0;
  if (n < 32 || n > 4096 || (n & (n - 1)) != 0) {
    r.fail(key, cat(field, " is ", dump_json(value), ", not a power of two from 32 to 4096"));
  }
  return n;
}

std::string text_of(const Reader& r, const std::string& key, const char* field, const Json& value) {
  if (!value.is_string()) r.fail(key, cat(field, " is ", dump_json(value), ", not a string"));
  return value.get<std::string>();
}

void read_shape(const Reader& r, const std::string& key, const Json& value, State& state) {
  const bool pair = value.is_array() && value.size() == 2 && value[0].is_number_integer() &&
                    value[1].is_number_integer();
  // 2^31 a side keeps every product of sizes within 64 bits.
  const auto fits = [](int64_t n) { return n > 0 && n < (int64_t{1} << 31); };
  if (!pair || !fits(value[0].get<int64_t>()) || !fits(value[1].get<int64_t>())) {
    r.fail(key, cat("shape is ", dump_json(value), ", not [out, in]"));
  }
  state.out = value[0].get<int64_t>();
  state.in = value[1].get<int64_t>();
}

DType value_dtype(const Reader& r, const std::string& key, const std::string& name) {
  for (DType t : {DType::f32, DType::bf16, DType::f16}) {
    if (name == torch_name(t)) return t;
  }
  r.fail(key, cat("dtype is \"", name, "\", not float32, bfloat16 or float16"));
}

float nested_offset(const Reader& r, const std::string& key, const Json& value) {
  const double offset = value.is_number() ? value.get<double>() : NAN;
  if (!std::isfinite(static_cast<float>(offset))) {
    r.fail(key, cat("nested_offset is ", dump_json(value), ", not a finite number"));
  }
  return static_cast<float>(offset);
}

// One field of the JSON; false when it is not one bitsandbytes writes.
bool read_field(const Reader& r, const std::string& key, const std::string& field,
                const Json& value, State& state) {
  if (field == "quant_type") {
    const std::string type = text_of(r, key, "quant_type", value);
    if (cat(kStateKey, type) != key) {
      r.fail(key, cat("quant_type is \"", type, "\", the key says \"", key.substr(kStateKey.size()),
                      "\""));
    }
  } else if (field == "blocksize") {
    state.block = block_size(r, key, "blocksize", value);
  } else if (field == "dtype") {
    state.dtype = value_dtype(r, key, text_of(r, key, "dtype", value));
  } else if (field == "shape") {
    read_shape(r, key, value, state);
  } else if (field == "nested_blocksize") {
    state.nested_block = block_size(r, key, "nested_blocksize", value);
  } else if (field == "nested_dtype") {
    const std::string dtype = text_of(r, key, "nested_dtype", value);
    if (dtype != "float32") r.fail(key, cat("nested_dtype is \"", dtype, "\", not float32"));
  } else if (field == "nested_offset") {
    state.offset = nested_offset(r, key, value);
  } else {
    return false;
  }
  return true;
}

State read_state(const Reader& r, const std::string& key) {
  const Tensor bytes = r.get(key);
  if (bytes.dtype() != DType::u8) {
    r.fail(key, cat("its dtype is ", name_of(bytes.dtype()), ", not u8"));
  }
  const std::string_view text(bytes.data<char>(), static_cast<size_t>(bytes.numel()));
  const std::string name =
      r.source.file.empty() ? cat(r.prefix, key) : cat(r.source.file, ": ", r.prefix, key);
  const Json json = parse_json(text, name);
  if (!json.is_object()) r.fail(key, "its JSON is not an object");
  State state;
  const auto format = format_named(key.substr(kStateKey.size()));
  if (!format || !rule_of(*format).coded) {
    r.fail(key, "its type is not nf4 or fp4", "other 4-bit types are not read");
  }
  state.format = *format;
  for (auto it = json.begin(); it != json.end(); ++it) {
    if (!read_field(r, key, it.key(), it.value(), state)) {
      r.fail(key, cat("unknown field \"", it.key(), "\" with value ", dump_json(it.value())));
    }
  }
  const auto need = [&](const char* field) {
    if (!json.contains(field)) r.fail(key, cat("the field \"", field, "\" is missing"));
  };
  for (const char* field : {"quant_type", "blocksize", "dtype", "shape"}) need(field);
  for (const char* field : {"nested_blocksize", "nested_dtype", "nested_offset"}) {
    state.nested = state.nested || json.contains(field);
  }
  if (state.nested) {
    for (const char* field : {"nested_blocksize", "nested_dtype", "nested_offset"}) need(field);
  }
  return state;
}

Tensor read_codes(const Reader& r, int64_t n, Purpose purpose) {
  Tensor packed = r.get("weight");
  if (!packed.contiguous()) r.fail("weight", "its rows have gaps");
  const int64_t need = (n + 1) / 2;
  if (packed.bytes() != need) {
    r.fail("weight",
           cat("it holds ", packed.bytes(), " bytes of codes, ", n, " elements need ", need));
  }
  return Tensor::wrap(packed.raw(), {need}, DType::u8, packed.keep());
}

// Bit for bit: a table that differs means other values than the codes were made for.
void check_table(const Reader& r, const Tensor& map, const FormatRule& rule) {
  for (int64_t i = 0; i < 16; ++i) {
    const float got = map.data<float>()[i], want = rule.table[i];
    if (got == want) continue;
    r.fail("weight.quant_map",
           cat("entry ", i, " is ", got, ", the table of ", rule.name, " has ", want));
  }
}

void check_finite(const Reader& r, std::string_view key, const Tensor& values) {
  int64_t index = -1;
  r.on.k.find_nonfinite(r.on.stream, values.numel(), values.dtype(), values.raw(), &index);
  r.on.stream.wait();
  if (index >= 0) r.fail(key, cat("entry ", index, " is NaN or Inf"));
}

Tensor read_scales(const Reader& r, int64_t blocks, Purpose purpose) {
  const char* key = "weight.absmax";
  const Tensor stored = r.get(key);
  const DType dtype = stored.dtype();
  if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16) {
    r.fail(key, cat("its dtype is ", name_of(dtype), ", scales that are not nested are f32"));
  }
  Tensor scales = r.get(key, dtype, blocks, purpose);
  if (dtype != DType::f32) {
    Tensor wide = Tensor::empty(r.on.memory, scales.shape(), DType::f32, purpose);
    r.on.k.cast(r.on.stream, 1, blocks, dtype, scales.raw(), blocks, DType::f32, wide.raw(),
                blocks);
    scales = wide;
  }
  check_finite(r, key, scales);
  return scales;
}

Nested read_nested(const Reader& r, const State& state, int64_t blocks, Purpose purpose) {
  Nested nested;
  nested.offset = state.offset;
  nested.block = state.nested_block;
  nested.codes = r.get("weight.absmax", DType::u8, blocks, purpose);
  nested.absmax2 = r.get("weight.nested_absmax", DType::f32,
                         (blocks + nested.block - 1) / nested.block, purpose);
  check_finite(r, "weight.nested_absmax", nested.absmax2);
  nested.map = r.get("weight.nested_quant_map", DType::f32, 256, purpose);
  check_finite(r, "weight.nested_quant_map", nested.map);
  // Every file has the same map: one copy of it serves all weights.
  if (std::equal(nested.map.data<float>(), nested.map.data<float>() + 256, dynamic_signed_map())) {
    nested.map = Tensor::wrap(const_cast<float*>(dynamic_signed_map()), {256}, DType::f32);
  }
  return nested;
}

std::string state_json(const Weight& w) {
  std::string text =
      cat("{\"quant_type\": \"", name_of(w.format), "\", \"blocksize\": ", w.block,
          ", \"dtype\": \"", torch_name(w.value_dtype), "\", \"shape\": [", w.out, ", ", w.in, "]");
  if (w.nested) {
    // As Python prints the float: the shortest digits of the fp32 value widened to fp64.
    const std::string offset = dump_json(Json(static_cast<double>(w.nested->offset)));
    text += cat(", \"nested_blocksize\": ", w.nested->block,
                ", \"nested_dtype\": \"float32\", \"nested_offset\": ", offset);
  }
  return text + "}";
}

Tensor bytes_of(const Backend& on, const void* data, int64_t bytes) {
  Tensor t = Tensor::empty(on.memory, {bytes}, DType::u8, Purpose::staging);
  std::memcpy(t.raw(), data, static_cast<size_t>(bytes));
  return t;
}

}  // namespace

bool has_quant_state(std::string_view prefix, const std::vector<std::string>& names) {
  const std::string start = cat(prefix, kStateKey);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return starts_with(name, start); });
}

Weight read_quant_state(const Backend& on, std::string_view prefix, const TensorSource& source,
                        int64_t out, int64_t in, Purpose purpose) {
  const Reader r{on, source, std::string(prefix)};
  const std::string key = state_key(r);
  const State state = read_state(r, key);
  if ((out >= 0 && out != state.out) || (in >= 0 && in != state.in)) {
    r.fail(key,
           cat("the weight is (", state.out, ", ", state.in, "), the model's config makes it (",
               out, ", ", in, ")"),
           "config.json and the tensors belong to different models");
  }
  refuse_unknown_keys(r, key, state.nested);
  Weight w;
  w.format = state.format;
  w.out = state.out;
  w.in = state.in;
  w.block = state.block;
  w.value_dtype = state.dtype;
  w.codes = read_codes(r, w.out * w.in, purpose);
  check_table(r, r.get("weight.quant_map", DType::f32, 16, Purpose::scratch), rule_of(w.format));
  if (state.nested) {
    w.nested = read_nested(r, state, w.blocks(), purpose);
  } else {
    w.scales = read_scales(r, w.blocks(), purpose);
  }
  return w;
}

NamedTensors write_quant_state(const Backend& on, std::string_view prefix, const Weight& w,
                               DType storage) {
  check(w.coded(), "write_quant_state: a dense weight has no quant state");
  check(w.layout == Layout::flat, "write_quant_state: panel order is not what the format stores");
  const std::string weight = cat(prefix, "weight");
  check_eq(w.codes.bytes() % size_of(storage), int64_t{0}, cat(weight, ": storage dtype"));
  NamedTensors out;
  out.emplace_back(weight, Tensor::wrap(w.codes.raw(), {w.codes.bytes() / size_of(storage), 1},
                                        storage, w.codes.keep()));
  out.emplace_back(cat(weight, ".absmax"), w.nested ? w.nested->codes : w.scales);
  const FormatRule& rule = rule_of(w.format);  // lives as long as the program
  out.emplace_back(cat(weight, ".quant_map"),
                   Tensor::wrap(const_cast<float*>(rule.table), {16}, DType::f32));
  if (w.nested) {
    out.emplace_back(cat(weight, ".nested_absmax"), w.nested->absmax2);
    out.emplace_back(cat(weight, ".nested_quant_map"), w.nested->map);
  }
  const std::string json = state_json(w);
  out.emplace_back(cat(prefix, kStateKey, name_of(w.format)),
                   bytes_of(on, json.data(), static_cast<int64_t>(json.size())));
  return out;
}

}  // namespace nibble
