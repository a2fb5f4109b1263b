// Which file of a directory is the tokenizer, and what the small files around it change. A file
// given alone stands for itself: nothing beside it is read.
#include "base/errors.h"
#include "base/files.h"
#include "model/files/gguf_model.h"
#include "model/files/gguf_tokenizer.h"
#include "model/text/gguf_vocabulary.h"
#include "model/text/tokenizer.h"
#include "model/text/tokenizer_parts.h"

namespace nibble {

namespace text {

namespace {

const char* const kJson = "tokenizer.json";
const char* const kModel = "tokenizer.model";
const char* const kVocab = "vocab.json";
const char* const kMerges = "merges.txt";
const char* const kWords = "vocab.txt";

enum class Source { json, sentencepiece, tiktoken, vocab_merges, vocab_txt };

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
  for (const auto& name : {config.cls, config.sep, config.mask}) {
    if (name && !name->empty()) special(*name);
  }
  for (const std::string& name : config.additional_special) special(name);
}

// add_bos_token / add_eos_token rule the classes that build their template from them; for others
// the template of the tokenizer itself stands.
void apply_bos_eos(const TokenizerConfig& config, Source source, TokenizerParts& parts) {
  const auto of_class = [&](const char* name) { return starts_with(config.tokenizer_class, name); };
  const bool builds =
      of_class("Llama") || of_class("CodeLlama") || of_class("Gemma") || of_class("Cohere");
  const bool own = source == Source::tiktoken || source == Source::vocab_txt ||
                   (source == Source::json && !builds);
  if (own) return;
  const bool said = config.add_bos.has_value() || config.add_eos.has_value();
  if (source == Source::json && !said) return;
  parts.prefix.clear();
  parts.suffix.clear();
  parts.pair.clear();
  if (config.add_bos.value_or(source != Source::vocab_merges) && parts.bos)
    parts.prefix.push_back(*parts.bos);
  if (config.add_eos.value_or(false) && parts.eos) parts.suffix.push_back(*parts.eos);
}

// The first *.tiktoken of a directory, "" for none.
std::string tiktoken_file(const std::string& directory) {
  if (!is_directory(directory)) return "";
  for (const std::string& name : list_directory(directory)) {
    if (ends_with(name, ".tiktoken")) return join_path(directory, name);
  }
  return "";
}

Source load_directory(const std::string& directory, const TokenizerConfig& config,
                      TokenizerParts& parts) {
  const auto path = [&](const char* name) { return join_path(directory, name); };
  const auto has = [&](const char* name) { return exists(path(name)); };
  if (has(kJson)) {
    load_tokenizer_json(read_file(path(kJson)), path(kJson), parts);
    return Source::json;
  }
  if (has(kModel)) {
    const std::string bytes = read_file(path(kModel));
    if (looks_like_tiktoken(bytes)) {
      load_tiktoken(bytes, path(kModel), config, parts);
      return Source::tiktoken;
    }
    load_tokenizer_model(bytes, path(kModel), config, false, parts);
    return Source::sentencepiece;
  }
  if (has(kVocab) && has(kMerges)) {
    load_vocab_merges(path(kVocab), path(kMerges), config, parts);
    return Source::vocab_merges;
  }
  if (const std::string ranks = tiktoken_file(directory); !ranks.empty()) {
    load_tiktoken(read_file(ranks), ranks, config, parts);
    return Source::tiktoken;
  }
  load_vocab_txt(read_file(path(kWords)), path(kWords), config, parts);
  return Source::vocab_txt;
}

void load_one(Tokenizer::FileKind kind, std::string_view bytes, const std::string& name,
              TokenizerParts& parts) {
  switch (kind) {
    case Tokenizer::FileKind::tokenizer_json:
      return load_tokenizer_json(bytes, name, parts);
    case Tokenizer::FileKind::sentencepiece: {
      load_tokenizer_model(bytes, name, {}, true, parts);
      if (parts.bos) parts.prefix.push_back(*parts.bos);
      return;
    }
    case Tokenizer::FileKind::tiktoken:
      return load_tiktoken(bytes, name, {}, parts);
    case Tokenizer::FileKind::vocab_txt:
      return load_vocab_txt(bytes, name, {}, parts);
  }
}

Tokenizer::FileKind kind_of(const std::string& path, std::string_view bytes) {
  using Kind = Tokenizer::FileKind;
  if (ends_with(path, ".txt")) return Kind::vocab_txt;
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  const bool brace = first != std::string_view::npos && bytes[first] == '{';
  if (ends_with(path, ".json") || brace) return Kind::tokenizer_json;
  if (ends_with(path, ".tiktoken") || looks_like_tiktoken(bytes)) return Kind::tiktoken;
  return Kind::sentencepiece;
}

// The folder and whether `path` is one half of a vocab.json + merges.txt pair.
bool half_of_a_pair(const std::string& path, std::string& vocab, std::string& merges) {
  const std::string name = base_name(path);
  const std::string folder = path.substr(0, path.size() - name.size());
  vocab = folder + kVocab;
  merges = folder + kMerges;
  return name == kVocab || name == kMerges;
}

// A file that was made from a directory with tokenizer.json may carry it: it says more than the
// other keys can.
constexpr const char* kOwnJson = "tokenizer.huggingface.json";

}  // namespace

}  // namespace text

struct TokenizerLoad {
  using Parts = std::unique_ptr<text::TokenizerParts>;
  static std::unique_ptr<Tokenizer> gguf(const std::string& path) {
    const Gguf file = parse_gguf(InputFile(path));
    if (!has_vocabulary(file))
      throw UserError(path, "holds no tokenizer", "use a file that was converted with it",
                      Exit::missing_input);
    const text::GgufVocabulary vocabulary = gguf_vocabulary(file);
    const auto json = file.text(text::kOwnJson);
    if (!json) return Tokenizer::from_gguf(vocabulary);
    auto parts = std::make_unique<text::TokenizerParts>();
    text::load_tokenizer_json(*json, cat(path, ": key '", text::kOwnJson, "'"), *parts);
    const auto id = [&](const std::optional<int64_t>& given, std::optional<int32_t>& to) {
      if (given && *given >= 0 && *given < INT32_MAX) to = static_cast<int32_t>(*given);
    };
    id(vocabulary.bos, parts->bos);
    id(vocabulary.eos, parts->eos);
    id(vocabulary.pad, parts->pad);
    id(vocabulary.unk, parts->unk);
    parts->chat_template = vocabulary.chat_template;
    return finish(std::move(parts));
  }
  static std::unique_ptr<Tokenizer> finish(Parts parts) {
    parts->find_added();
    return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
  }
};

bool Tokenizer::present(const std::string& directory) {
  if (is_gguf(directory)) return has_vocabulary(parse_gguf(InputFile(directory)));
  const auto has = [&](const char* name) { return exists(join_path(directory, name)); };
  return has(text::kJson) || has(text::kModel) || (has(text::kVocab) && has(text::kMerges)) ||
         has(text::kWords) || !text::tiktoken_file(directory).empty();
}

std::unique_ptr<Tokenizer> Tokenizer::load(const std::string& directory) {
  if (is_gguf(directory)) return TokenizerLoad::gguf(directory);
  if (!present(directory)) {
    throw UserError(directory,
                    "no tokenizer: looked for tokenizer.json, tokenizer.model, *.tiktoken, "
                    "vocab.json with merges.txt, and vocab.txt",
                    "copy the tokenizer files of the model into this directory",
                    Exit::missing_input);
  }
  const text::TokenizerConfig config = text::read_tokenizer_config(directory);
  auto parts = std::make_unique<text::TokenizerParts>();
  const text::Source source = text::load_directory(directory, config, *parts);
  text::add_named_tokens(config, *parts);
  text::apply_bos_eos(config, source, *parts);
  parts->chat_template = config.chat_template;
  return TokenizerLoad::finish(std::move(parts));
}

std::unique_ptr<Tokenizer> Tokenizer::open(const std::string& path) {
  if (is_directory(path)) return load(path);
  std::string vocab, merges;
  if (text::half_of_a_pair(path, vocab, merges)) {
    auto parts = std::make_unique<text::TokenizerParts>();
    text::load_vocab_merges(vocab, merges, {}, *parts);
    return TokenizerLoad::finish(std::move(parts));
  }
  if (is_gguf(path)) return TokenizerLoad::gguf(path);
  const std::string bytes = read_file(path);
  return from_bytes(text::kind_of(path, bytes), bytes, path);
}

std::unique_ptr<Tokenizer> Tokenizer::from_bytes(FileKind kind, std::string_view bytes,
                                                 const std::string& name) {
  auto parts = std::make_unique<text::TokenizerParts>();
  text::load_one(kind, bytes, name, *parts);
  return TokenizerLoad::finish(std::move(parts));
}

std::unique_ptr<Tokenizer> Tokenizer::from_gguf(const text::GgufVocabulary& vocabulary) {
  auto parts = std::make_unique<text::TokenizerParts>();
  text::load_gguf_vocabulary(vocabulary, *parts);
  return TokenizerLoad::finish(std::move(parts));
}

}  // namespace nibble
