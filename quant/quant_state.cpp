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
#include "quant/state_reader.h"

namespace nibble {
namespace {

constexpr std::string_view kStateKey = "weight.quant_state.bitsandbytes__";

// What the JSON says.
struct State {
  Format format = Format::nf4;
  int64_t block = 0, out = 0, in = 0;
  DType dtype = DType::f32;
  bool nested = false, nested_bf16 = false;
  int64_t nested_block = 0;
  float offset = 0;
};

// The one key `prefix`weight.quant_state.bitsandbytes__<type>, relative to the prefix.
std::string state_key(const StateReader& r) {
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

void refuse_unknown_keys(const StateReader& r, const std::string& state, bool nested) {
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

int64_t block_size(const StateReader& r, const std::string& key, const char* field,
                   const Json& value) {
  const int64_t n = value.is_number_integer() ? value.get<int64_t>() : 0;
  if (n < 32 || n > 4096 || (n & (n - 1)) != 0) {
    r.fail(key, cat(field, " is ", dump_json(value), ", not a power of two from 32 to 4096"));
  }
  return n;
}

std::string text_of(const StateReader& r, const std::string& key, const char* field,
                    const Json& value) {
  if (!value.is_string()) r.fail(key, cat(field, " is ", dump_json(value), ", not a string"));
  return value.get<std::string>();
}

void read_shape(const StateReader& r, const std::string& key, const Json& value, State& state) {
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

DType value_dtype(const StateReader& r, const std::string& key, const std::string& name) {
  for (DType t : {DType::f32, DType::bf16, DType::f16}) {
    if (name == torch_name(t)) return t;
  }
  r.fail(key, cat("dtype is \"", name, "\", not float32, bfloat16 or float16"));
}

float nested_offset(const StateReader& r, const std::string& key, const Json& value) {
  const double offset = value.is_number() ? value.get<double>() : NAN;
  if (!std::isfinite(static_cast<float>(offset))) {
    r.fail(key, cat("nested_offset is ", dump_json(value), ", not a finite number"));
  }
  return static_cast<float>(offset);
}

// One field of the JSON; false when it is not one bitsandbytes writes.
bool read_field(const StateReader& r, const std::string& key, const std::string& field,
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
    state.nested_bf16 = dtype == "bfloat16";
    if (dtype != "float32" && !state.nested_bf16)
      r.fail(key, cat("nested_dtype is \"", dtype, "\", not float32 or bfloat16"));
  } else if (field == "nested_offset") {
    state.offset = nested_offset(r, key, value);
  } else {
    return false;
  }
  return true;
}

// Python writes numbers that are not finite as words, which are no JSON.
void refuse_nan(const StateReader& r, const std::string& key, std::string_view text) {
  for (const char* word : {"-Infinity", "Infinity", "NaN"})
    for (const char* before : {": ", ":"})
      if (const size_t at = text.find(cat(before, word)); at != std::string_view::npos) {
        const size_t end = text.rfind('"', at), begin = text.rfind('"', end - 1);
        const bool named = end != std::string_view::npos && begin != std::string_view::npos;
        r.fail(key, cat(named ? text.substr(begin + 1, end - begin - 1) : "a number", " is ", word,
                        ", not a finite number"));
      }
}

State read_state(const StateReader& r, const std::string& key, std::string& kept) {
  const Tensor bytes = r.get(key);
  if (bytes.dtype() != DType::u8) {
    r.fail(key, cat("its dtype is ", name_of(bytes.dtype()), ", not u8"));
  }
  const std::string_view text(bytes.data<char>(), static_cast<size_t>(bytes.numel()));
  kept = text;
  const std::string name =
      r.source.file.empty() ? cat(r.prefix, key) : cat(r.source.file, ": ", r.prefix, key);
  refuse_nan(r, key, text);
  const Json json = parse_json(text, name);
  if (!json.is_object()) r.fail(key, "its JSON is not an object");
  State state;
  const auto format = format_named(key.substr(kStateKey.size()));
  if (!format || !rule_of(*format).coded) {
    r.fail(key, "its type is none of nibble's 4-bit formats", "nf4 and fp4 are read, and int4");
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

Tensor read_codes(const StateReader& r, int64_t n, StoredAs& as) {
  Tensor packed = r.get("weight");
  as.storage = packed.dtype();
  if (as.storage != DType::u8 && as.storage != DType::i8 && !is_float(as.storage))
    r.fail("weight", cat("its dtype is ", name_of(as.storage), ", which is no quant_storage"));
  if (!packed.contiguous()) r.fail("weight", "its rows have gaps");
  const int64_t need = (n + 1) / 2;
  if (packed.bytes() != need) {
    r.fail("weight",
           cat("it holds ", packed.bytes(), " bytes of codes, ", n, " elements need ", need));
  }
  return Tensor::wrap(packed.raw(), {need}, DType::u8, packed.keep());
}

// Bit for bit: a table that differs means other values than the codes were made for.
void check_table(const StateReader& r, const Tensor& map, const FormatRule& rule) {
  for (int64_t i = 0; i < 16; ++i) {
    const float got = map.data<float>()[i], want = rule.table[i];
    if (got == want) continue;
    r.fail("weight.quant_map",
           cat("entry ", i, " is ", got, ", the table of ", rule.name, " has ", want));
  }
}

bool is_scale(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f16; }

// Of (in / block, out), as bitsandbytes' CPU kernel keeps them: a row of the matrix is a column.
Tensor turned_back(const StateReader& r, const Tensor& scales, Purpose purpose) {
  const int64_t blocks = scales.dim(0), rows = scales.dim(1);
  const Tensor from = r.widened(scales.reshape({scales.numel()}), Purpose::scratch);
  Tensor to = Tensor::empty(r.on.memory, {rows * blocks}, DType::f32, purpose);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t b = 0; b < blocks; ++b)
      to.data<float>()[n * blocks + b] = from.data<float>()[b * rows + n];
  return to;
}

Tensor read_scales(const StateReader& r, const Weight& w, StoredAs& as, Purpose purpose) {
  const char* key = "weight.absmax";
  const Tensor stored = r.get(key);
  if (!is_scale(stored.dtype()))
    r.fail(key,
           cat("its dtype is ", name_of(stored.dtype()), ", scales that are not nested are f32"));
  Tensor scales;
  if (stored.shape().rank == 2) {
    // The kernel takes whole tiles of 32 rows and whole blocks only.
    const bool tiles = w.in % w.block == 0 && w.out % 32 == 0 && stored.dtype() == DType::bf16;
    if (!tiles || stored.dim(0) != w.in / w.block || stored.dim(1) != w.out)
      r.fail(key,
             cat("its shape is ", stored.shape(), ", not (", w.blocks(),
                 "): the scales are in an order that is not known"),
             "save the model again before any evaluation: bitsandbytes' CPU kernel transposes "
             "scales");
    scales = turned_back(r, r.aligned(stored, Purpose::scratch), purpose);
    as.after_eval = true;  // written back as it should have been
  } else {
    as.absmax = stored.dtype();
    scales = r.widened(r.get(key, stored.dtype(), w.blocks(), purpose), purpose);
  }
  r.check_finite(key, scales);
  return scales;
}

Nested read_nested(const StateReader& r, const State& state, int64_t blocks, StoredAs& as,
                   Purpose purpose) {
  Nested nested;
  nested.offset = state.offset;
  nested.block = state.nested_block;
  nested.codes = r.get("weight.absmax", DType::u8, blocks, purpose);
  as.after_eval = state.nested_bf16;
  const DType dtype = r.get("weight.nested_absmax").dtype();
  as.absmax2 = is_scale(dtype) ? dtype : DType::f32;
  nested.absmax2 = r.widened(r.get("weight.nested_absmax", as.absmax2,
                                   (blocks + nested.block - 1) / nested.block, purpose),
                             purpose);
  r.check_finite("weight.nested_absmax", nested.absmax2);
  nested.map = r.get("weight.nested_quant_map", DType::f32, 256, purpose);
  r.check_finite("weight.nested_quant_map", nested.map);
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
  const StateReader r{on, source, std::string(prefix), "a 4-bit"};
  const std::string key = state_key(r);
  auto as = std::make_shared<StoredAs>();
  const State state = read_state(r, key, as->json);
  r.check_shape(key, state.out, state.in, out, in);
  refuse_unknown_keys(r, key, state.nested);
  Weight w;
  w.format = state.format;
  w.out = state.out;
  w.in = state.in;
  w.block = state.block;
  w.value_dtype = state.dtype;
  w.codes = read_codes(r, w.out * w.in, *as);
  check_table(r, r.get("weight.quant_map", DType::f32, 16, Purpose::scratch), rule_of(w.format));
  if (state.nested) {
    w.nested = read_nested(r, state, w.blocks(), *as, purpose);
  } else {
    w.scales = read_scales(r, w, *as, purpose);
  }
  w.stored = std::move(as);
  return w;
}

NamedTensors write_quant_state(const Backend& on, std::string_view prefix, const Weight& w,
                               std::optional<DType> storage) {
  check(w.coded(), "write_quant_state: a dense weight has no quant state");
  check(w.layout == Layout::flat, "write_quant_state: panel order is not what the format stores");
  const StoredAs as = w.stored ? *w.stored : StoredAs();
  const DType stored = storage.value_or(as.storage);
  const std::string weight = cat(prefix, "weight");
  if (w.codes.bytes() % size_of(stored) != 0)
    throw UserError(
        weight,
        cat("its ", w.codes.bytes(), " bytes of codes are no whole number of ", torch_name(stored)),
        "use uint8 storage");
  const auto narrowed = [&](const Tensor& x, DType to) {
    if (to == DType::f32) return x;
    const int64_t n = x.numel();
    Tensor y = Tensor::empty(on.memory, {n}, to, Purpose::staging);
    on.k.cast(on.stream, 1, n, DType::f32, x.raw(), n, to, y.raw(), n);
    return y;
  };
  NamedTensors out;
  out.emplace_back(weight, Tensor::wrap(w.codes.raw(), {w.codes.bytes() / size_of(stored), 1},
                                        stored, w.codes.keep()));
  out.emplace_back(cat(weight, ".absmax"),
                   w.nested ? w.nested->codes : narrowed(w.scales, as.absmax));
  const FormatRule& rule = rule_of(w.format);  // lives as long as the program
  out.emplace_back(cat(weight, ".quant_map"),
                   Tensor::wrap(const_cast<float*>(rule.table), {16}, DType::f32));
  if (w.nested) {
    out.emplace_back(cat(weight, ".nested_absmax"), narrowed(w.nested->absmax2, as.absmax2));
    out.emplace_back(cat(weight, ".nested_quant_map"), w.nested->map);
  }
  const std::string json = as.json.empty() ? state_json(w) : as.json;
  out.emplace_back(cat(prefix, kStateKey, name_of(w.format)),
                   bytes_of(on, json.data(), static_cast<int64_t>(json.size())));
  return out;
}

int64_t quant_state_bytes(const QuantSpec& spec, int64_t out, int64_t in) {
  Weight w;
  w.format = spec.format;
  w.block = spec.block;
  w.value_dtype = DType::bf16;  // the longest name
  w.out = out;
  w.in = in;
  if (spec.double_quant) w.nested.emplace();
  return static_cast<int64_t>(state_json(w).size()) + 32;  // 24 digits, sign and exponent
}

}  // namespace nibble
