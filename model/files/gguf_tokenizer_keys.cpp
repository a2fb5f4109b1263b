// A Hugging Face tokenizer as keys of a GGUF file. What comes out is run through the same texts as
// the original before it is believed: readers of GGUF must give the same ids.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/files/gguf_model.h"
#include "model/files/gguf_tokenizer.h"
#include "model/text/sentencepiece.h"
#include "model/text/tokenizer.h"
#include "model/text/tokenizer_parts.h"

namespace nibble {
namespace {

using text::GgufTokenType;
using text::GgufVocabulary;

constexpr const char* kOwnJson = "tokenizer.huggingface.json";

// The name that llama.cpp has for a pre-tokenizer, by what tokenizer.json says of it.
std::string pre_of(const Json& pre, bool ignore_merges, const std::string& family) {
  std::vector<std::string> parts;
  const auto add = [&](const Json& step) {
    const std::string type = step.value("type", std::string());
    if (type == "Split" && step.contains("pattern") && step["pattern"].contains("Regex")) {
      parts.push_back(step["pattern"]["Regex"].get<std::string>());
    } else if (type == "ByteLevel" && !step.value("use_regex", true)) {
      return;
    } else {
      parts.push_back(type);
    }
  };
  if (pre.value("type", std::string()) == "Sequence") {
    for (const Json& step : pre["pretokenizers"]) add(step);
  } else {
    add(pre);
  }
  const std::string all = join(parts, "\n");
  const auto has = [&](std::string_view s) { return all.find(s) != std::string::npos; };
  if (all == "ByteLevel") return "gpt-2";
  if (all == "Digits\nByteLevel") return family == "cohere" ? "command-r" : "starcoder";
  if (all == "Punctuation\nByteLevel\nDigits\n[0-9][0-9][0-9]") return "falcon";
  if (has(R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll})"))
    return has(R"(\p{N}{1,3})") ? "gpt-4o" : "tekken";
  if (has(R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"))
    return ignore_merges ? "llama-bpe" : family == "glm4" ? "glm4" : "dbrx";
  if (has(R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)")) return "qwen2";
  return "";
}

class VocabularyMaker {
 public:
  VocabularyMaker(const std::string& directory, const Json& config, int64_t rows)
      : directory_(directory), config_(config), rows_(rows) {
    v_.file = directory;
  }

  GgufVocabulary make() {
    const std::string json_path = join_path(directory_, "tokenizer.json");
    const std::string model_path = join_path(directory_, "tokenizer.model");
    const text::TokenizerConfig config = text::read_tokenizer_config(directory_);
    Json json;
    if (exists(json_path)) json = read_json(json_path);
    if (exists(model_path)) {
      of_sentencepiece(text::parse_spm(read_file(model_path), model_path), model_path);
    } else if (json.is_object() && json.contains("model")) {
      of_json(json, json_path);
    } else if (exists(join_path(directory_, "vocab.json")) &&
               exists(join_path(directory_, "merges.txt"))) {
      of_vocab_merges(config.tokenizer_class);
    } else {
      refuse("only tokenizer.json and tokenizer.model can become keys of a GGUF file");
    }
    if (json.is_object() && json.contains("added_tokens"))
      for (const Json& t : json["added_tokens"])
        add_token(t["id"].get<size_t>(), t["content"].get<std::string>(),
                  t.value("special", false));
    for (const text::AddedToken& t : config.added)
      add_token(static_cast<size_t>(t.id), t.content, t.special);
    pad();
    if (v_.model == "gpt2") v_.scores.clear();
    return std::move(v_);
  }

 private:
  [[noreturn]] void refuse(std::string what) const {
    throw UserError(directory_, std::move(what),
                    "convert with --no-tokenizer and keep the tokenizer's own files",
                    Exit::bad_data);
  }

  void set(size_t id, std::string token, float score, GgufTokenType type) {
    if (static_cast<int64_t>(id) >= rows_)
      refuse(cat("token ", id, " has no row in a vocabulary of ", rows_));
    if (v_.tokens.size() <= id) {
      v_.tokens.resize(id + 1);
      v_.scores.resize(id + 1, -10000);
      v_.token_types.resize(id + 1, static_cast<int32_t>(GgufTokenType::unused));
    }
    v_.tokens[id] = std::move(token);
    v_.scores[id] = score;
    v_.token_types[id] = static_cast<int32_t>(type);
  }

  void of_sentencepiece(const text::SpmFile& file, const std::string& path) {
    if (file.model_type != 2) refuse(cat(path, " is not of type BPE"));
    v_.model = "llama";
    v_.pre = "default";
    for (size_t i = 0; i < file.pieces.size(); ++i) {
      const text::SpmPiece& p = file.pieces[i];
      set(i, p.text, p.score, static_cast<GgufTokenType>(p.type));
    }
    v_.add_space_prefix = file.add_dummy_prefix;
  }

  void of_json(const Json& json, const std::string& path) {
    const Json& model = json["model"];
    if (model.value("type", std::string("BPE")) != "BPE")
      refuse(cat(path, ": a model of type ", model.value("type", std::string()),
                 " cannot be kept in a GGUF file by this command"));
    const bool bytes = json.dump().find("\"ByteLevel\"") != std::string::npos;
    v_.model = bytes ? "gpt2" : "llama";
    for (const auto& item : model["vocab"].items()) {
      const bool byte = !bytes && item.key().size() == 6 && starts_with(item.key(), "<0x");
      set(item.value().get<size_t>(), item.key(), 0,
          byte ? GgufTokenType::byte : GgufTokenType::normal);
    }
    std::map<std::string, float> score;
    for (const Json& merge : model["merges"]) {
      const std::string line =
          merge.is_string() ? merge.get<std::string>()
                            : cat(merge[0].get<std::string>(), " ", merge[1].get<std::string>());
      v_.merges.push_back(line);
      std::string joined = line;
      joined.erase(joined.find(' ', 1), 1);
      score.emplace(joined, -static_cast<float>(v_.merges.size()));
    }
    if (bytes) {
      v_.scores.clear();
      v_.pre =
          pre_of(json.value("pre_tokenizer", Json::object()), model.value("ignore_merges", false),
                 config_.value("model_type", std::string()));
      if (v_.pre.empty()) refuse(cat(path, ": readers of GGUF have no name for its pre_tokenizer"));
      return;
    }
    // Pieces that no merge makes come after all that one makes.
    for (size_t i = 0; i < v_.tokens.size(); ++i) {
      const auto it = score.find(v_.tokens[i]);
      v_.scores[i] = it != score.end() ? it->second : -static_cast<float>(v_.merges.size()) - 1;
    }
    v_.merges.clear();
    v_.pre = "default";
    v_.add_space_prefix = json.dump().find("\"Prepend\"") != std::string::npos;
    const std::string unk = model.contains("unk_token") && model["unk_token"].is_string()
                                ? model["unk_token"].get<std::string>()
                                : "";
    for (size_t i = 0; i < v_.tokens.size(); ++i)
      if (!unk.empty() && v_.tokens[i] == unk)
        v_.token_types[i] = static_cast<int32_t>(GgufTokenType::unknown);
  }

  // vocab.json and merges.txt: byte-level BPE of the first releases.
  void of_vocab_merges(const std::string& class_name) {
    v_.model = "gpt2";
    v_.pre = starts_with(class_name, "Qwen2") ? "qwen2" : "gpt-2";
    const std::string path = join_path(directory_, "vocab.json");
    const Json vocab = read_json(path);
    for (const auto& item : vocab.items())
      set(item.value().get<size_t>(), item.key(), 0, GgufTokenType::normal);
    for (const std::string& line : split(read_file(join_path(directory_, "merges.txt")), '\n'))
      if (!line.empty() && !starts_with(line, "#version")) v_.merges.push_back(line);
  }

  void add_token(size_t id, const std::string& content, bool special) {
    const bool known = id < v_.tokens.size() && !v_.tokens[id].empty();
    const bool unknown =
        known && v_.token_types[id] == static_cast<int32_t>(GgufTokenType::unknown);
    set(id, content, known ? v_.scores[id] : -1000,
        unknown   ? GgufTokenType::unknown
        : special ? GgufTokenType::control
                  : GgufTokenType::user_defined);
  }

  // One token a row of the embedding: readers of GGUF count the tokens.
  void pad() {
    for (size_t i = 0; i < static_cast<size_t>(rows_); ++i)
      if (i >= v_.tokens.size() || v_.tokens[i].empty())
        set(i, cat("[PAD", i, "]"), -10000, GgufTokenType::unused);
  }

  const std::string& directory_;
  const Json& config_;
  int64_t rows_;
  GgufVocabulary v_;
};

// Words, numbers, spaces, scripts and signs that pre-tokenizers treat unlike each other; characters
// composed, since readers of GGUF normalize nothing.
const char* const kTexts[] = {
    "Hello, world! It's 3.14159 or 1234567 of them; they'll DON'T'VE stop.",
    "  two  spaces\n\nand lines\r\n\tand tabs   \n trailing   ",
    "naïve façade Größe Ünïcödé łódź İstanbul ﬁn",
    "Привет, мир! Γειά σου Κόσμε. שלום עולם مرحبا بالعالم नमस्ते दुनिया",
    "你好，世界！こんにちは世界 안녕하세요 세계 ไทย",
    "x = [i**2 for i in range(10)]; if (a != b && c >= 0x1F) { return \"\\n\"; } // %s",
    "👍🏽 👩‍👩‍👧‍👦 ✓ → ∑ ½ ²",
    "CamelCaseWORDS snake_case_words kebab-case http://example.com/a?b=c#d user@host.org",
};

void check_same_ids(const Tokenizer& hf, const Tokenizer& gguf, const std::string& directory) {
  for (const char* text : kTexts) {
    const auto want = hf.encode(text), got = gguf.encode(text);
    if (want == got) continue;
    const auto at = std::mismatch(want.begin(), want.end(), got.begin(), got.end());
    throw UserError(
        directory,
        cat("its tokenizer gives \"", text, "\" other ids than readers of GGUF would, from token ",
            at.first - want.begin(), " on"),
        "convert with --no-tokenizer and keep the tokenizer's own files", Exit::bad_data);
  }
}

void add_strings(const char* key, std::vector<std::string> strings, GgufMetadata& metadata) {
  GgufValue v = GgufValue::array(GgufType::string);
  v.strings = std::move(strings);
  metadata.emplace_back(key, std::move(v));
}

void add_ids(const GgufVocabulary& v, GgufMetadata& metadata) {
  const std::pair<const char*, std::optional<int64_t>> ids[] = {
      {"bos", v.bos}, {"eos", v.eos}, {"unknown", v.unk}, {"padding", v.pad}, {"eot", v.eot}};
  for (const auto& [name, id] : ids)
    if (id) metadata.emplace_back(cat("tokenizer.ggml.", name, "_token_id"), GgufValue::u32(*id));
}

void add_vocabulary(const GgufVocabulary& v, GgufMetadata& metadata) {
  metadata.emplace_back("tokenizer.ggml.model", GgufValue::of(v.model));
  metadata.emplace_back("tokenizer.ggml.pre", GgufValue::of(v.pre));
  add_strings("tokenizer.ggml.tokens", v.tokens, metadata);
  if (!v.scores.empty()) {
    GgufValue scores = GgufValue::array(GgufType::f32);
    scores.reals.assign(v.scores.begin(), v.scores.end());
    metadata.emplace_back("tokenizer.ggml.scores", std::move(scores));
  }
  GgufValue types = GgufValue::array(GgufType::i32);
  types.integers.assign(v.token_types.begin(), v.token_types.end());
  metadata.emplace_back("tokenizer.ggml.token_type", std::move(types));
  if (!v.merges.empty()) add_strings("tokenizer.ggml.merges", v.merges, metadata);
  add_ids(v, metadata);
  const std::pair<const char*, std::optional<bool>> flags[] = {
      {"add_bos_token", v.add_bos},
      {"add_eos_token", v.add_eos},
      {"add_space_prefix", v.add_space_prefix}};
  for (const auto& [name, flag] : flags)
    if (flag) metadata.emplace_back(cat("tokenizer.ggml.", name), GgufValue::of(*flag));
  if (!v.chat_template.empty())
    metadata.emplace_back("tokenizer.chat_template", GgufValue::of(v.chat_template));
}

// Ids that end a text, as config.json lists them: the first beside eos also ends a turn.
void add_turn_end(const Json& config, GgufVocabulary& v) {
  if (!config.contains("eos_token_id")) return;
  const Json& given = config["eos_token_id"];
  const Json ids = given.is_array() ? given : Json::array({given});
  for (const Json& id : ids) {
    if (!id.is_number_unsigned()) continue;
    if (!v.eos) v.eos = id.get<int64_t>();
    if (id != *v.eos && !v.eot) v.eot = id.get<int64_t>();
  }
}

}  // namespace

void add_no_tokenizer(const Json& config, GgufMetadata& metadata) {
  metadata.emplace_back("tokenizer.ggml.model", GgufValue::of("none"));
  GgufVocabulary v;
  add_turn_end(config, v);
  for (const auto& [key, id] :
       {std::pair("bos_token_id", &v.bos), std::pair("pad_token_id", &v.pad)})
    if (config.contains(key) && config[key].is_number_unsigned()) *id = config[key].get<int64_t>();
  add_ids(v, metadata);
}

void add_gguf_tokenizer(const std::string& directory, const Json& config, int64_t vocab,
                        GgufMetadata& metadata) {
  if (is_gguf(directory)) {
    for (const auto& [key, value] : parse_gguf(InputFile(directory)).metadata)
      if (starts_with(key, "tokenizer.")) metadata.emplace_back(key, value);
    return;
  }
  if (!Tokenizer::present(directory)) return add_no_tokenizer(config, metadata);
  const auto hf = Tokenizer::load(directory);
  GgufVocabulary v = VocabularyMaker(directory, config, vocab).make();
  const auto id = [](const std::optional<int32_t>& x) {
    return x ? std::optional<int64_t>(*x) : std::nullopt;
  };
  v.bos = id(hf->bos());
  v.eos = id(hf->eos());
  v.unk = id(hf->unk());
  v.pad = id(hf->pad());
  v.add_bos = hf->adds_bos();
  v.add_eos = hf->adds_eos();
  v.chat_template = hf->chat_template();
  add_turn_end(config, v);
  check_same_ids(*hf, *Tokenizer::from_gguf(v), directory);
  add_vocabulary(v, metadata);
  if (const std::string path = join_path(directory, "tokenizer.json"); exists(path))
    metadata.emplace_back(kOwnJson, GgufValue::of(read_file(path)));
}

}  // namespace nibble
