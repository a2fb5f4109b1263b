// The same stations as encode(), slower: every text carries its origins, and the model says how
// much of a piece each token covers.
#include "model/text/tokenizer_offsets.h"

#include <algorithm>

#include "base/errors.h"
#include "model/text/aligned_text.h"
#include "model/text/byte_level.h"
#include "model/text/tokenizer_parts.h"

namespace nibble {

namespace text {

namespace {

using AlignedPieces = std::vector<AlignedText>;

// A token on its way: trimming looks at the text that the library keeps beside it.
struct Found {
  TokenOffset token;
  std::string value;
};

void cut(const PreStep& step, const AlignedText& piece, EncodeScratch& scratch,
         AlignedPieces& out) {
  scratch.pieces.next.clear();
  cut_piece(step, {piece.text, false}, scratch.pieces, scratch.match);
  for (const Piece& part : scratch.pieces.next) {
    const auto begin = static_cast<size_t>(part.text.data() - piece.text.data());
    out.push_back(piece.part(begin, begin + part.text.size()));
  }
}

void run_metaspace(const PreStep& step, AlignedText piece, EncodeScratch& scratch,
                   AlignedPieces& out) {
  const bool first = piece.from[0].begin == 0;
  align_replace(piece, Pattern::literal(" "), step.replacement, scratch.match);
  const bool prefix = step.prepend == PreStep::Prepend::always ||
                      (step.prepend == PreStep::Prepend::first && first);
  const bool has = piece.text.substr(0, step.replacement.size()) == step.replacement;
  if (prefix && !has) align_prepend(piece, step.replacement);
  if (!step.split) return out.push_back(std::move(piece));
  PreStep split;
  split.pattern = step.pattern;
  split.behavior = Behavior::merged_with_next;
  cut(split, piece, scratch, out);
}

void run_byte_level(const PreStep& step, AlignedText piece, AlignedPieces& out) {
  if (step.add_prefix_space && piece.text[0] != ' ') align_prepend(piece, " ");
  if (step.map_bytes) align_each(piece, to_byte_characters);
  out.push_back(std::move(piece));
}

AlignedPieces pre_tokenized(const TokenizerParts& parts, AlignedText text, EncodeScratch& scratch) {
  AlignedPieces pieces;
  if (!text.text.empty()) pieces.push_back(std::move(text));
  for (const PreStep& step : parts.pre_tokenizer.steps()) {
    AlignedPieces next;
    for (AlignedText& piece : pieces) {
      if (step.kind == PreStep::Kind::metaspace) {
        run_metaspace(step, std::move(piece), scratch, next);
      } else if (step.kind == PreStep::Kind::byte_level) {
        run_byte_level(step, std::move(piece), next);
      } else {
        cut(step, piece, scratch, next);
      }
    }
    pieces.swap(next);
  }
  return pieces;
}

Found found(int32_t id, Origin origin, std::string_view value) {
  return {{id, static_cast<int64_t>(origin.begin), static_cast<int64_t>(origin.end)},
          std::string(value)};
}

void encode_piece(const TokenizerParts& parts, const AlignedText& piece, EncodeScratch& scratch,
                  std::vector<Found>& out) {
  std::vector<TokenSpan> spans;
  parts.model->spans(piece.text, spans, scratch.subword);
  for (const TokenSpan& span : spans) {
    const std::string* value = parts.vocabulary.text(span.id);
    out.push_back(found(span.id, piece.origin(span.begin, span.end), value ? *value : ""));
  }
}

void encode_stretch(const TokenizerParts& parts, AlignedText text, bool parse_special,
                    EncodeScratch& scratch, std::vector<Found>& out) {
  parts.normalizer.align(text, scratch.match);
  std::vector<AddedTokens::Span> spans;
  parts.added.split(text.text, AddedTokens::Where::normalized, parse_special, spans);
  for (const AddedTokens::Span& span : spans) {
    const auto begin = static_cast<size_t>(span.text.data() - text.text.data());
    const size_t end = begin + span.text.size();
    if (span.id >= 0) {
      out.push_back(found(span.id, text.origin(begin, end), span.text));
      continue;
    }
    for (const AlignedText& piece : pre_tokenized(parts, text.part(begin, end), scratch)) {
      encode_piece(parts, piece, scratch, out);
    }
  }
}

// Bytes to characters. Origins begin and end between characters.
void count_characters(std::string_view text, std::vector<Found>& tokens) {
  std::vector<int64_t> before(text.size() + 1);
  int64_t characters = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    before[at] = characters;
    const bool ends = at + 1 == text.size() || (static_cast<uint8_t>(text[at + 1]) & 0xC0) != 0x80;
    if (ends) ++characters;
  }
  before[text.size()] = characters;
  for (Found& f : tokens) {
    f.token.begin = before[static_cast<size_t>(f.token.begin)];
    f.token.end = before[static_cast<size_t>(f.token.end)];
  }
}

// How many characters of white space, mapped to the byte alphabet or not, a token begins and ends
// with.
std::pair<int64_t, int64_t> white_space_around(std::string_view value) {
  std::vector<bool> space;
  for (size_t at = 0; at < value.size();) {
    const Character c = character_at(value, at);
    space.push_back(c.code == character_of_byte(' ') || is_white_space(c.code));
    at += static_cast<size_t>(std::max(c.bytes, 1));
  }
  const auto leading = std::find(space.begin(), space.end(), false) - space.begin();
  const auto trailing = std::find(space.rbegin(), space.rend(), false) - space.rbegin();
  return {leading, trailing};
}

// White space at the ends of a token is not its own; the space that was put before the text is.
void trim(const OffsetTrim& how, std::vector<Found>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    TokenOffset& t = tokens[i].token;
    auto [leading, trailing] = white_space_around(tokens[i].value);
    if (leading == 1 && how.prefix_space && (i == 0 || t.begin == 0)) leading = 0;
    t.begin = std::min(t.begin + leading, std::max(t.begin, t.end));
    if (trailing > 0 && t.end >= trailing) t.end = std::max(t.end - trailing, t.begin);
  }
}

void trim_all(const TokenizerParts& parts, bool around, std::vector<Found>& tokens) {
  for (const OffsetTrim& how : parts.trims) {
    if (how.around_special == around) trim(how, tokens);
  }
}

std::vector<Found> encode_aligned(const TokenizerParts& parts, const std::string& text,
                                  Tokenizer::EncodeOptions options) {
  std::vector<AddedTokens::Span> spans;
  parts.added.split(text, AddedTokens::Where::raw, options.parse_special, spans);
  auto scratch = parts.scratches.take();
  std::vector<Found> out;
  for (const AddedTokens::Span& span : spans) {
    const auto begin = static_cast<size_t>(span.text.data() - text.data());
    if (span.id >= 0) {
      out.push_back(found(span.id, {begin, begin + span.text.size()}, span.text));
    } else {
      encode_stretch(parts, AlignedText(span.text, begin), options.parse_special, *scratch, out);
    }
  }
  parts.scratches.give(std::move(scratch));
  count_characters(text, out);
  trim_all(parts, false, out);
  if (options.add_special_tokens) {
    const auto special = [&](int32_t id) {
      const std::string* value = parts.spelling(id);
      return Found{{id, 0, 0}, value == nullptr ? "" : *value};
    };
    std::vector<Found> all;
    for (const int32_t id : parts.prefix) all.push_back(special(id));
    all.insert(all.end(), out.begin(), out.end());
    for (const int32_t id : parts.suffix) all.push_back(special(id));
    out.swap(all);
  }
  trim_all(parts, true, out);
  return out;
}

}  // namespace

}  // namespace text

std::vector<TokenOffset> Tokenizer::encode_with_offsets(std::string_view input,
                                                        EncodeOptions options) const {
  const text::TokenizerParts& parts = *parts_;
  if (!parts.aligns) {
    throw UserError("tokenizer",
                    "offsets are known for tokenizer.json and vocab.txt alone, and this tokenizer "
                    "was read from another kind of file",
                    "convert the tokenizer to tokenizer.json", Exit::bad_data);
  }
  const std::string text = text::lossy_utf8(input, text::Broken::per_start);
  std::vector<TokenOffset> out;
  for (const text::Found& f : text::encode_aligned(parts, text, options)) out.push_back(f.token);
  const std::vector<int32_t> ids = encode(text, options);
  check(std::equal(ids.begin(), ids.end(), out.begin(), out.end(),
                   [](int32_t id, const TokenOffset& t) { return id == t.id; }),
        "encode_with_offsets: the ids are those of encode");
  return out;
}

}  // namespace nibble
