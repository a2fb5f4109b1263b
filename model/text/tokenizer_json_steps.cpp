// Pre-tokenizers: one branch for each "type"; a Sequence is read by calling the reader again.
#include "model/text/tokenizer_json_steps.h"

#include "model/text/cut_text.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;

// \w+|[^\w\s]+ of another regex library: its \w holds the joiners and no superscript digits.
#define NIBBLE_WORD R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D})"
constexpr const char* kWhitespaceWords = "[" NIBBLE_WORD "]+|[^" NIBBLE_WORD R"(\s]+)";
#undef NIBBLE_WORD

Behavior read_behavior(const JsonReader& json, Element step, std::string_view otherwise) {
  const std::string name = json.text_at(step, "behavior", otherwise);
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  json.not_yet(cat("the split behavior ", name));
}

PreStep read_metaspace(const JsonReader& json, Element step) {
  PreStep out;
  out.kind = PreStep::Kind::metaspace;
  out.replacement = json.text_at(step, "replacement", kSpaceMark);
  if (!one_character(out.replacement)) json.bad("the replacement of Metaspace is no character");
  out.pattern = Pattern::literal(out.replacement);
  out.split = json.flag(step, "split", true);
  const bool add = json.flag(step, "add_prefix_space", true);
  const std::string scheme = json.text_at(step, "prepend_scheme", add ? "always" : "never");
  if (scheme == "first") {
    out.prepend = PreStep::Prepend::first;
  } else if (scheme == "never") {
    out.prepend = PreStep::Prepend::never;
  } else if (scheme != "always") {
    json.not_yet(cat("the prepend_scheme ", scheme));
  }
  return out;
}

void add_pre_tokenizer(const JsonReader& json, Element element, PreTokenizer& out) {
  const std::string type = json.text_at(element, "type");
  PreStep step;
  if (type == "Sequence") {
    for (const Element s : json.list(json.need(element, "pretokenizers"), "pretokenizers")) {
      add_pre_tokenizer(json, s, out);
    }
    return;
  }
  if (type == "ByteLevel") {
    return out.add_byte_level(json.flag(element, "add_prefix_space", true),
                              json.flag(element, "use_regex", true));
  }
  if (type == "Split") {
    step.pattern = read_pattern(json, element);
    step.behavior = read_behavior(json, element, "Isolated");
    step.invert = json.flag(element, "invert", false);
  } else if (type == "Metaspace") {
    step = read_metaspace(json, element);
  } else if (type == "Digits") {
    step.kind = PreStep::Kind::digits;
    step.individual = json.flag(element, "individual_digits", false);
  } else if (type == "Punctuation") {
    step.kind = PreStep::Kind::punctuation;
    step.behavior = read_behavior(json, element, "Isolated");
  } else if (type == "WhitespaceSplit") {
    step.kind = PreStep::Kind::white_space;
  } else if (type == "BertPreTokenizer") {
    step.kind = PreStep::Kind::white_space;
    out.add(step);
    step.kind = PreStep::Kind::punctuation;
  } else if (type == "CharDelimiterSplit") {
    const std::string delimiter = json.text(json.need(element, "delimiter"), "delimiter");
    if (!one_character(delimiter)) json.bad("the delimiter of CharDelimiterSplit is no character");
    step.pattern = Pattern::literal(delimiter);
    step.behavior = Behavior::removed;
  } else if (type == "UnicodeScripts") {
    step.kind = PreStep::Kind::cut;
    step.cut = cut_scripts;
  } else if (type == "FixedLength") {
    Element length;
    const int64_t n = json.has(element, "length", length) ? json.number(length, "length") : 5;
    if (n < 1) json.bad(cat("the length ", n, " of FixedLength is not at least 1"));
    step.kind = PreStep::Kind::cut;
    step.cut = [n](std::string_view text, Cuts& parts) {
      cut_fixed(text, static_cast<size_t>(n), parts);
    };
  } else if (type == "Whitespace") {
    step.pattern = Pattern::regex(kWhitespaceWords, json.path());
    step.behavior = Behavior::removed;
    step.invert = true;
  } else {
    json.not_yet(cat("the pre-tokenizer ", type));
  }
  out.add(std::move(step));
}

}  // namespace

bool one_character(std::string_view text) {
  return !text.empty() && character_at(text, 0).bytes == static_cast<int>(text.size());
}

Pattern read_pattern(const JsonReader& json, Element parent) {
  const Element value = json.need(parent, "pattern");
  if (value.is_string()) return Pattern::literal(json.text(value, "pattern"));
  Element text;
  if (json.has(value, "String", text)) return Pattern::literal(json.text(text, "pattern"));
  return Pattern::regex(json.text(json.need(value, "Regex"), "pattern"), json.path());
}

void read_pre_tokenizer(const JsonReader& json, PreTokenizer& out) {
  Element element;
  if (json.has(json.root(), "pre_tokenizer", element)) add_pre_tokenizer(json, element, out);
}

}  // namespace nibble::text
