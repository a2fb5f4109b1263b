// Normalizers of a tokenizer.json: one branch for each "type".
#include "model/text/aligned_text.h"
#include "model/text/base64.h"
#include "model/text/byte_level.h"
#include "model/text/character_map.h"
#include "model/text/normalize_classes.h"
#include "model/text/tokenizer_json_steps.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;

void add_plain(Normalizer& out, std::string (*change)(std::string_view)) {
  out.add([change](std::string_view t, bool&, MatchScratch&) { return change(t); },
          [change](AlignedText& t, MatchScratch&) { align_each(t, change); });
}

void add_unicode(Normalizer& out, UnicodeForm form) {
  out.add([form](std::string_view t, bool&, MatchScratch&) { return unicode_normalize(t, form); },
          [form](AlignedText& t, MatchScratch&) { align_unicode(t, form); });
}

// Whether an old file says nothing or no: strip_accents follows lowercase unless it is said.
void add_bert(const JsonReader& json, Element step, Normalizer& out) {
  const bool lower = json.flag(step, "lowercase", true);
  BertNormalizer bert;
  bert.clean = json.flag(step, "clean_text", true);
  bert.chinese = json.flag(step, "handle_chinese_chars", true);
  bert.accents = json.flag(step, "strip_accents", lower);
  bert.lower = lower;
  add_bert_normalizer(bert, out);
}

void add_precompiled(const JsonReader& json, Element step, Normalizer& out) {
  const auto bytes = decode_base64(json.text_at(step, "precompiled_charsmap"));
  if (!bytes) json.bad("precompiled_charsmap is not base64");
  const auto map = std::make_shared<const CharacterMap>(*bytes, json.path());
  out.add([map](std::string_view t, bool&, MatchScratch&) { return map_clusters(t, *map); },
          [map](AlignedText& t, MatchScratch&) { align_clusters(t, *map); });
}

void add_strip(const JsonReader& json, Element step, Normalizer& out) {
  const bool left = json.flag(step, "strip_left", true);
  const bool right = json.flag(step, "strip_right", true);
  out.add(
      [left, right](std::string_view t, bool& first, MatchScratch&) {
        std::string stripped = strip_white_space(t, left, right);
        first = first && t.substr(0, stripped.size()) == stripped;
        return stripped;
      },
      [left, right](AlignedText& t, MatchScratch&) { align_strip(t, left, right); });
}

void add_prepend(const std::string& text, Normalizer& out) {
  out.add([text](std::string_view t, bool&,
                 MatchScratch&) { return t.empty() ? std::string() : text + std::string(t); },
          [text](AlignedText& t, MatchScratch&) { align_prepend(t, text); });
}

void add_replace(const Pattern& pattern, const std::string& content, Normalizer& out) {
  out.add(
      [pattern, content](std::string_view t, bool&, MatchScratch& scratch) {
        return replace_all(t, pattern, content, scratch);
      },
      [pattern, content](AlignedText& t, MatchScratch& scratch) {
        align_replace(t, pattern, content, scratch);
      });
}

void add_normalizer(const JsonReader& json, Element step, Normalizer& out) {
  const std::string type = json.text_at(step, "type");
  if (type == "Sequence") {
    for (const Element s : json.list(json.need(step, "normalizers"), "normalizers")) {
      add_normalizer(json, s, out);
    }
  } else if (type == "NFC") {
    add_unicode(out, UnicodeForm::nfc);
  } else if (type == "NFD") {
    add_unicode(out, UnicodeForm::nfd);
  } else if (type == "NFKC") {
    add_unicode(out, UnicodeForm::nfkc);
  } else if (type == "NFKD") {
    add_unicode(out, UnicodeForm::nfkd);
  } else if (type == "Lowercase") {
    add_plain(out, lowercase);
  } else if (type == "StripAccents") {
    add_plain(out, strip_accents);
  } else if (type == "Nmt") {
    add_plain(out, nmt_clean);
  } else if (type == "ByteLevel") {
    add_plain(out, to_byte_characters);
  } else if (type == "BertNormalizer") {
    add_bert(json, step, out);
  } else if (type == "Precompiled") {
    add_precompiled(json, step, out);
  } else if (type == "Prepend") {
    add_prepend(json.text_at(step, "prepend"), out);
  } else if (type == "Strip") {
    add_strip(json, step, out);
  } else if (type == "Replace") {
    add_replace(read_pattern(json, step), json.text_at(step, "content"), out);
  } else {
    json.not_yet(cat("the normalizer ", type));
  }
}

}  // namespace

void add_bert_normalizer(const BertNormalizer& bert, Normalizer& out) {
  if (bert.clean) add_plain(out, clean_controls);
  if (bert.chinese) add_plain(out, space_chinese);
  if (bert.accents) {
    add_unicode(out, UnicodeForm::nfd);
    add_plain(out, strip_nonspacing);
  }
  if (bert.lower) add_plain(out, lowercase);
}

void read_normalizer(const JsonReader& json, Normalizer& out) {
  Element element;
  if (json.has(json.root(), "normalizer", element)) add_normalizer(json, element, out);
}

}  // namespace nibble::text
