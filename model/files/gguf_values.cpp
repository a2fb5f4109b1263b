// Looking up metadata: what a key holds in the type that is asked for, or a refusal by name.
#include <charconv>

#include "base/errors.h"
#include "model/files/gguf.h"

namespace nibble {

bool GgufValue::is_integer() const {
  return type != GgufType::boolean && type != GgufType::string && type != GgufType::array &&
         !is_real();
}

GgufValue GgufValue::of(std::string text) {
  GgufValue v;
  v.type = GgufType::string;
  v.strings.push_back(std::move(text));
  return v;
}

GgufValue GgufValue::of(bool value) {
  GgufValue v;
  v.type = GgufType::boolean;
  v.integers.push_back(value ? 1 : 0);
  return v;
}

GgufValue GgufValue::u32(int64_t value) {
  check(value >= 0 && value <= UINT32_MAX, cat("gguf: ", value, " as u32"));
  GgufValue v;
  v.integers.push_back(value);
  return v;
}

GgufValue GgufValue::f32(double value) {
  GgufValue v;
  v.type = GgufType::f32;
  v.reals.push_back(value);
  return v;
}

double as_decimal(double f32) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(f32));
  double out = f32;
  std::from_chars(text, end.ptr, out);
  return out;
}

const GgufValue* Gguf::find(std::string_view key) const {
  for (const auto& [name, value] : metadata)
    if (name == key) return &value;
  return nullptr;
}

void Gguf::refuse(std::string_view key, std::string what, std::string hint) const {
  throw UserError(cat(path, ": key '", key, "'"), std::move(what), std::move(hint), Exit::bad_data);
}

const GgufValue* Gguf::scalar(std::string_view key, const char* wanted,
                              bool fits(const GgufValue&)) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return nullptr;
  if (v->is_array || !fits(*v))
    refuse(key, cat("is ", v->is_array ? "an array of " : "", name_of(v->type), ", not ", wanted));
  return v;
}

std::optional<int64_t> Gguf::integer(std::string_view key) const {
  const GgufValue* v = scalar(key, "an integer", [](const GgufValue& x) { return x.is_integer(); });
  return v == nullptr ? std::nullopt : std::optional(v->integers[0]);
}

std::optional<double> Gguf::number(std::string_view key) const {
  const GgufValue* v =
      scalar(key, "a number", [](const GgufValue& x) { return x.is_integer() || x.is_real(); });
  if (v == nullptr) return std::nullopt;
  return v->is_real() ? v->reals[0] : static_cast<double>(v->integers[0]);
}

std::optional<bool> Gguf::boolean(std::string_view key) const {
  const GgufValue* v =
      scalar(key, "true or false", [](const GgufValue& x) { return x.type == GgufType::boolean; });
  return v == nullptr ? std::nullopt : std::optional(v->integers[0] != 0);
}

std::optional<std::string> Gguf::text(std::string_view key) const {
  const GgufValue* v =
      scalar(key, "a string", [](const GgufValue& x) { return x.type == GgufType::string; });
  return v == nullptr ? std::nullopt : std::optional(v->strings[0]);
}

const GgufValue* Gguf::array(std::string_view key, GgufType type) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return nullptr;
  bool fits = v->is_array && v->type == type;
  if (v->is_array && type == GgufType::i32) fits = v->is_integer();
  if (!fits)
    refuse(key, cat("is ", v->is_array ? "an array of " : "", name_of(v->type),
                    ", not an array of ", name_of(type)));
  return v;
}

}  // namespace nibble
