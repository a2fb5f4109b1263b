// Encoding: added tokens are cut out, the text between them is normalized, cut into pieces and
// merged; the template's special tokens stand around the whole. Decoding runs one StreamDecoder.
#include "model/text/tokenizer.h"

#include <algorithm>

#include "base/errors.h"
#include "base/files.h"
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

int32_t TokenizerParts::size() const {
  int32_t n = vocabulary.size();
  for (const AddedToken& t : added.all()) n = std::max(n, t.id + 1);
  return n;
}

namespace {

const char* const kJson = "tokenizer.json";
const char* const kModel = "tokenizer.model";
const char* const kVocab = "vocab.json";
const char* const kMerges = "merges.txt";

// Tokens that the small files name: added where the tokenizer lacks them, special where they play
// a special part. A name that has no id is left out: nothing was trained under it.
void add_named_tokens(const TokenizerConfig& config, TokenizerParts& parts) {
  for (const AddedToken& token : config.added) {
    if (parts.added.find(token.content) == nullptr) parts.added.set(token);
  }
  const auto special = [&](const std::string& name) -> std::optional<int32_t> {
    const auto id = parts.id_of(name);
    if (!id) return std::nullopt;
    AddedToken token;
    if (const AddedToken* known = parts.added.find(name)) token = *known;
    token.id = *id;
    token.content = name;
    token.special = true;
    parts.added.set(token);
    return id;
  };
  const auto role = [&](const std::optional<std::string>& name, std::optional<int32_t>& id) {
    if (!name || name->empty()) return;
    if (const auto found = special(*name)) id = found;
  };
  role(config.bos, parts.bos);
  role(config.eos, parts.eos);
  role(config.pad, parts.pad);
  role(config.unk, parts.unk);
  for (const std::string& name : config.additional_special) special(name);
}

// add_bos_token / add_eos_token rule the classes that build their template from them; for others
// the template in tokenizer.json stands.
void apply_bos_eos(const TokenizerConfig& config, bool from_json, bool llama_defaults,
                   TokenizerParts& parts) {
  const bool own_template = from_json && !starts_with(config.tokenizer_class, "Llama") &&
                            !starts_with(config.tokenizer_class, "CodeLlama") &&
                            !starts_with(config.tokenizer_class, "Gemma") &&
                            !starts_with(config.tokenizer_class, "Cohere");
  if (own_template) return;
  const bool said = config.add_bos.has_value() || config.add_eos.has_value();
  if (from_json && !said) return;
  parts.prefix.clear();
  parts.suffix.clear();
  const bool bos = config.add_bos.value_or(from_json || llama_defaults);
  if (bos && parts.bos) parts.prefix.push_back(*parts.bos);
  if (config.add_eos.value_or(false) && parts.eos) parts.suffix.push_back(*parts.eos);
}

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

bool Tokenizer::present(const std::string& directory) {
  const auto has = [&](const char* name) { return exists(join_path(directory, name)); };
  return has(text::kJson) || has(text::kModel) || (has(text::kVocab) && has(text::kMerges));
}

std::unique_ptr<Tokenizer> Tokenizer::load(const std::string& directory) {
  if (!present(directory)) {
    throw UserError(directory,
                    "no tokenizer: looked for tokenizer.json, tokenizer.model, and vocab.json with "
                    "merges.txt",
                    "copy the tokenizer files of the model into this directory",
                    Exit::missing_input);
  }
  const text::TokenizerConfig config = text::read_tokenizer_config(directory);
  auto parts = std::make_unique<text::TokenizerParts>();
  const std::string json = join_path(directory, text::kJson);
  const std::string model = join_path(directory, text::kModel);
  const bool from_json = exists(json);
  const bool from_model = !from_json && exists(model);
  if (from_json) {
    text::load_tokenizer_json(json, *parts);
  } else if (from_model) {
    text::load_tokenizer_model(model, config, *parts);
  } else {
    text::load_vocab_merges(directory, config, *parts);
  }
  text::add_named_tokens(config, *parts);
  text::apply_bos_eos(config, from_json, from_model, *parts);
  parts->chat_template = config.chat_template;
  text::MatchScratch scratch;
  parts->added.build([&](std::string_view t) {
    bool first = true;
    return parts->normalizer.run(t, first, scratch);
  });
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

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
  state_->push(*spelling, out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  state_->finish(out);
  return out;
}

}  // namespace nibble
