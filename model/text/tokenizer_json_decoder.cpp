// Decoders of a tokenizer.json: one branch for each "type". A step behind one that joins all tokens
// sees them as a single token and waits for the end, unless it can be run as a stream.
#include "model/text/tokenizer_json_steps.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;
using Kind = DecodeStep::Kind;

// True when what arrives at the end of the chain are parts of one joined token.
bool fuses(const DecodeChain& chain) {
  for (const DecodeStep& step : chain) {
    if (step.kind == Kind::fuse || step.kind == Kind::byte_level) return true;
  }
  return false;
}

void read_replace(const JsonReader& json, Element element, DecodeStep& step) {
  const Element pattern = json.need(element, "pattern");
  Element text;
  step.kind = Kind::replace;
  step.content = json.text_at(element, "content");
  if (pattern.is_string()) {
    step.pattern = json.text(pattern, "pattern");
  } else if (json.has(pattern, "String", text)) {
    step.pattern = json.text(text, "pattern");
  } else {
    step.regex = std::make_shared<Pattern>(read_pattern(json, element));
  }
}

void read_metaspace(const JsonReader& json, Element element, DecodeStep& step) {
  step.kind = Kind::metaspace;
  step.pattern = json.text_at(element, "replacement", kSpaceMark);
  const bool add = json.flag(element, "add_prefix_space", true);
  step.drop_first = json.text_at(element, "prepend_scheme", add ? "always" : "never") != "never";
}

void read_strip(const JsonReader& json, Element element, DecodeStep& step) {
  step.kind = Kind::strip;
  step.pattern = json.text_at(element, "content", " ");
  const auto times = [&](const char* key) {
    const int64_t n = json.number(json.need(element, key), key);
    if (n < 0 || n > (1 << 20)) json.bad(cat(key, " of the decoder Strip is ", n));
    return static_cast<int>(n);
  };
  step.start = times("start");
  step.stop = times("stop");
  if (!one_character(step.pattern)) json.bad("the decoder Strip takes one character");
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
    step.kind = Kind::fuse;
  } else if (type == "ByteLevel") {
    step.kind = Kind::byte_level;
  } else if (type == "ByteFallback") {
    step.kind = Kind::byte_fallback;
  } else if (type == "Metaspace") {
    read_metaspace(json, element, step);
  } else if (type == "Replace") {
    read_replace(json, element, step);
  } else if (type == "Strip") {
    read_strip(json, element, step);
  } else if (type == "WordPiece") {
    step.kind = Kind::word_piece;
    step.pattern = json.text_at(element, "prefix", "##");
    step.cleanup = json.flag(element, "cleanup", true);
  } else if (type == "BPEDecoder") {
    step.kind = Kind::word_end;
    step.pattern = json.text_at(element, "suffix", "</w>");
  } else if (type == "CTC") {
    step.kind = Kind::ctc;
    step.pattern = json.text_at(element, "pad_token", "<pad>");
    step.content = json.text_at(element, "word_delimiter_token", "|");
    step.cleanup = json.flag(element, "cleanup", true);
  } else {
    json.not_yet(cat("the decoder ", type));
  }
  const bool streams = step.kind == Kind::fuse || step.kind == Kind::strip ||
                       (step.kind == Kind::replace && !step.regex && one_character(step.pattern));
  step.whole = fuses(out) && !streams;
  out.push_back(std::move(step));
}

}  // namespace

void read_decoder(const JsonReader& json, DecodeChain& out) {
  Element element;
  if (json.has(json.root(), "decoder", element)) {
    add_decoder(json, element, out);
  } else {
    DecodeStep spaced;
    spaced.kind = Kind::spaced;
    out.push_back(spaced);
  }
}

}  // namespace nibble::text
