// Encoding: added tokens are cut out, the text between them is normalized, cut into pieces and
// merged; the template's special tokens stand around the whole. Decoding runs one StreamDecoder.
#include "model/text/tokenizer.h"

#include <algorithm>

#include "base/errors.h"
#include "model/text/tokenizer_parts.h"

namespace nibble {

namespace text {

std::unique_ptr<EncodeScratch> ScratchPool::take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return std::make_unique<EncodeScratch>();
  auto scratch = std::move(free_.back());
  free_.pop_back();
  return scratch;
}

void ScratchPool::give(std::unique_ptr<EncodeScratch> scratch) {
  constexpr size_t kMost = 16;
  constexpr size_t kLargest = 1 << 20;  // what a huge text needed is not kept
  if (scratch->subword.symbols.capacity() > kLargest) {
    scratch->subword.symbols = {};
    scratch->subword.heap = {};
    scratch->pieces = {};
  }
  const std::lock_guard lock(mutex_);
  if (free_.size() < kMost) free_.push_back(std::move(scratch));
}

std::optional<int32_t> TokenizerParts::id_of(std::string_view token) const {
  if (const AddedToken* t = added.find(token)) return t->id;
  return vocabulary.find(token);
}

const std::string* TokenizerParts::spelling(int32_t id) const {
  if (const AddedToken* t = added.find(id)) return &t->content;
  return vocabulary.text(id);
}

void TokenizerParts::find_added() {
  if (mends_utf8) {  // SentencePiece puts a mark before each stretch: tokens are found before that
    for (AddedToken token : std::vector<AddedToken>(added.all())) {
      if (!token.normalized) continue;
      token.normalized = false;
      added.set(std::move(token));
    }
  }
  MatchScratch scratch;
  added.build([&](std::string_view t) {
    bool first = true;
    return normalizer.run(t, first, scratch);
  });
}

int32_t TokenizerParts::size() const {
  int32_t n = vocabulary.size();
  for (const AddedToken& t : added.all()) n = std::max(n, t.id + 1);
  return n;
}

namespace {

void encode_stretch(const TokenizerParts& parts, std::string_view text, bool first,
                    bool parse_special, EncodeScratch& scratch, std::vector<int32_t>& out) {
  std::string changed;
  if (!parts.normalizer.empty()) {
    changed = parts.normalizer.run(text, first, scratch.match);
    text = changed;
  }
  std::vector<AddedTokens::Span> spans;
  parts.added.split(text, AddedTokens::Where::normalized, parse_special, spans);
  for (const AddedTokens::Span& span : spans) {
    if (span.id >= 0) {
      out.push_back(span.id);
      continue;
    }
    if (const Cut cut = parts.pre_tokenizer.only_cut()) {
      parts.model->encode_cut(span.text, cut, out, scratch.subword);
      continue;
    }
    parts.pre_tokenizer.run(span.text, first && span.text.data() == text.data(), scratch.pieces,
                            scratch.match);
    for (const Piece& piece : scratch.pieces.items) {
      parts.model->encode(piece.text, out, scratch.subword);
    }
  }
}

}  // namespace

}  // namespace text

Tokenizer::Tokenizer(std::unique_ptr<text::TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text) const { return encode(text, {}); }

std::vector<int32_t> Tokenizer::encode(std::string_view input, EncodeOptions options) const {
  const text::TokenizerParts& parts = *parts_;
  std::string mended;
  std::string_view text = input;
  if (!parts.mends_utf8 && !valid_utf8(input)) {
    mended = text::lossy_utf8(input, text::Broken::per_start);
    text = mended;
  }
  std::vector<int32_t> out;
  if (options.add_special_tokens) out = parts.prefix;
  std::vector<text::AddedTokens::Span> spans;
  parts.added.split(text, text::AddedTokens::Where::raw, options.parse_special, spans);
  auto scratch = parts.scratches.take();
  for (const text::AddedTokens::Span& span : spans) {
    if (span.id >= 0) {
      out.push_back(span.id);
    } else {
      text::encode_stretch(parts, span.text, span.text.data() == text.data(), options.parse_special,
                           *scratch, out);
    }
  }
  parts.scratches.give(std::move(scratch));
  if (options.add_special_tokens) {
    out.insert(out.end(), parts.suffix.begin(), parts.suffix.end());
  }
  return out;
}

std::vector<int32_t> Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                            EncodeOptions options) const {
  EncodeOptions bare = options;
  bare.add_special_tokens = false;
  std::vector<int32_t> order = parts_->pair;
  if (order.empty()) {
    order = parts_->prefix;
    order.push_back(-1);
    order.push_back(-2);
    order.insert(order.end(), parts_->suffix.begin(), parts_->suffix.end());
  }
  std::vector<int32_t> out;
  for (const int32_t part : order) {
    if (part >= 0) {
      if (options.add_special_tokens) out.push_back(part);
      continue;
    }
    const std::vector<int32_t> ids = encode(part == -1 ? first : second, bare);
    out.insert(out.end(), ids.begin(), ids.end());
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  StreamDecoder decoder(*this, skip_special_tokens);
  std::string out;
  for (const int32_t id : ids) out += decoder.push(id);
  out += decoder.finish();
  return out;
}

std::string Tokenizer::token_bytes(int32_t id) const {
  const std::string* spelling = parts_->spelling(id);
  return spelling == nullptr ? "" : text::bytes_of_token(parts_->decoder, *spelling);
}

std::string Tokenizer::token_text(int32_t id) const {
  const std::string* spelling = parts_->spelling(id);
  return spelling == nullptr ? "" : *spelling;
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  return parts_->id_of(token);
}

int32_t Tokenizer::vocab_size() const { return parts_->size(); }
std::optional<int32_t> Tokenizer::bos() const { return parts_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return parts_->eos; }
std::optional<int32_t> Tokenizer::pad() const { return parts_->pad; }
std::optional<int32_t> Tokenizer::unk() const { return parts_->unk; }

bool Tokenizer::adds_bos() const {
  return parts_->bos && !parts_->prefix.empty() && parts_->prefix.front() == *parts_->bos;
}

bool Tokenizer::adds_eos() const {
  return parts_->eos && !parts_->suffix.empty() && parts_->suffix.back() == *parts_->eos;
}

bool Tokenizer::is_special(int32_t id) const {
  const text::AddedToken* token = parts_->added.find(id);
  return token != nullptr && token->special;
}

const text::AddedToken* Tokenizer::added_token(int32_t id) const { return parts_->added.find(id); }

std::string Tokenizer::chat_template() const { return parts_->chat_template; }

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer),
      skip_special_(skip_special_tokens),
      state_(std::make_unique<text::DecodeState>(tokenizer.parts_->decoder)) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  std::string out;
  const std::string* spelling = tokenizer_->parts_->spelling(id);
  if (spelling == nullptr || (skip_special_ && tokenizer_->is_special(id))) return out;
  const text::AddedToken* added = tokenizer_->parts_->added.find(id);
  state_->push(added != nullptr && added->surface ? *added->surface : *spelling, out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  state_->finish(out);
  return out;
}

}  // namespace nibble
