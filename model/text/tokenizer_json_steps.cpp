// One branch for each component's "type"; a Sequence is read by calling the reader again.
#include "model/text/tokenizer_json_steps.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;

// \w+|[^\w\s]+ where \w holds the joiners too: this one component uses another regex library.
constexpr const char* kWhitespaceWords = R"([\w\x{200C}\x{200D}]+|[^\w\x{200C}\x{200D}\s]+)";

// {"String": …} or {"Regex": …}; old files have the bare string.
Pattern read_pattern(const JsonReader& json, Element parent) {
  const Element value = json.need(parent, "pattern");
  if (value.is_string()) return Pattern::literal(json.text(value, "pattern"));
  Element text;
  if (json.has(value, "String", text)) return Pattern::literal(json.text(text, "pattern"));
  return Pattern::regex(json.text(json.need(value, "Regex"), "pattern"), json.path());
}

void add_normalizer(const JsonReader& json, Element step, Normalizer& out) {
  const std::string type = json.text_at(step, "type");
  const auto unicode = [&](UnicodeForm form) {
    out.add(
        [form](std::string_view t, bool&, MatchScratch&) { return unicode_normalize(t, form); });
  };
  if (type == "Sequence") {
    for (const Element s : json.list(json.need(step, "normalizers"), "normalizers")) {
      add_normalizer(json, s, out);
    }
  } else if (type == "NFC") {
    unicode(UnicodeForm::nfc);
  } else if (type == "NFD") {
    unicode(UnicodeForm::nfd);
  } else if (type == "NFKC") {
    unicode(UnicodeForm::nfkc);
  } else if (type == "NFKD") {
    unicode(UnicodeForm::nfkd);
  } else if (type == "Lowercase") {
    out.add([](std::string_view t, bool&, MatchScratch&) { return lowercase(t); });
  } else if (type == "Prepend") {
    out.add([text = json.text_at(step, "prepend")](std::string_view t, bool&, MatchScratch&) {
      return t.empty() ? std::string() : text + std::string(t);
    });
  } else if (type == "Strip") {
    const bool left = json.flag(step, "strip_left", true);
    const bool right = json.flag(step, "strip_right", true);
    out.add([left, right](std::string_view t, bool& first, MatchScratch&) {
      std::string stripped = strip_white_space(t, left, right);
      first = first && t.substr(0, stripped.size()) == stripped;
      return stripped;
    });
  } else if (type == "Replace") {
    out.add([pattern = read_pattern(json, step), content = json.text_at(step, "content")](
                std::string_view t, bool&, MatchScratch& scratch) {
      return replace_all(t, pattern, content, scratch);
    });
  } else {
    json.not_yet(cat("the normalizer ", type));
  }
}

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
  } else if (type == "Whitespace") {
    step.pattern = Pattern::regex(kWhitespaceWords, json.path());
    step.behavior = Behavior::removed;
    step.invert = true;
  } else {
    json.not_yet(cat("the pre-tokenizer ", type));
  }
  out.add(std::move(step));
}

// True when what arrives at the end of the chain are parts of one joined token.
bool fuses(const DecodeChain& chain) {
  for (const DecodeStep& step : chain) {
    if (step.kind == DecodeStep::Kind::fuse || step.kind == DecodeStep::Kind::byte_level)
      return true;
  }
  return false;
}

bool one_character(std::string_view text) {
  return !text.empty() && character_at(text, 0).bytes == static_cast<int>(text.size());
}

void add_decoder(const JsonReader& json, Element element, DecodeChain& out) {
  const std::string type = json.text_at(element, "type");
  DecodeStep step;
  if (type == "Sequence") {
    for (const Element d : json.list(json.need(element, "decoders"), "decoders")) {
      add_decoder(json, d, out);
    }
    return;
  }
  if (type == "Fuse") {
    step.kind = DecodeStep::Kind::fuse;
  } else if (type == "ByteLevel" && !fuses(out)) {
    step.kind = DecodeStep::Kind::byte_level;
  } else if (type == "ByteFallback" && !fuses(out)) {
    step.kind = DecodeStep::Kind::byte_fallback;
  } else if (type == "Metaspace" && !fuses(out)) {
    step.kind = DecodeStep::Kind::metaspace;
    step.pattern = json.text_at(element, "replacement", kSpaceMark);
    const bool add = json.flag(element, "add_prefix_space", true);
    step.drop_first = json.text_at(element, "prepend_scheme", add ? "always" : "never") != "never";
  } else if (type == "Replace") {
    const Element pattern = json.need(element, "pattern");
    Element text;
    step.kind = DecodeStep::Kind::replace;
    if (pattern.is_string()) {
      step.pattern = json.text(pattern, "pattern");
    } else if (json.has(pattern, "String", text)) {
      step.pattern = json.text(text, "pattern");
    } else {
      json.not_yet("the decoder Replace with a regular expression");
    }
    step.content = json.text_at(element, "content");
    if (fuses(out) && !one_character(step.pattern)) json.not_yet("the decoder Replace after Fuse");
  } else if (type == "Strip") {
    step.kind = DecodeStep::Kind::strip;
    step.pattern = json.text_at(element, "content", " ");
    step.start = static_cast<int>(json.number(json.need(element, "start"), "start"));
    step.stop = static_cast<int>(json.number(json.need(element, "stop"), "stop"));
    if (!one_character(step.pattern)) json.bad("the decoder Strip takes one character");
  } else {
    json.not_yet(cat("the decoder ", type, fuses(out) ? " after Fuse" : ""));
  }
  out.push_back(std::move(step));
}

}  // namespace

void read_normalizer(const JsonReader& json, Normalizer& out) {
  Element element;
  if (json.has(json.root(), "normalizer", element)) add_normalizer(json, element, out);
}

bool read_pre_tokenizer(const JsonReader& json, PreTokenizer& out) {
  Element element;
  if (json.has(json.root(), "pre_tokenizer", element)) add_pre_tokenizer(json, element, out);
  return out.take_byte_map();
}

void read_decoder(const JsonReader& json, DecodeChain& out) {
  Element element;
  if (json.has(json.root(), "decoder", element)) {
    add_decoder(json, element, out);
  } else {
    DecodeStep spaced;
    spaced.kind = DecodeStep::Kind::spaced;
    out.push_back(spaced);
  }
}

}  // namespace nibble::text
