// tiktoken's files hold bytes and ranks, nothing of the pattern and the special tokens: those are
// known by the file's name or by the class that tokenizer_config.json names, or refused.
//
// A pair merges when its bytes are a token, in the order of that token's rank. As a list of merges:
// every way to cut a token in two tokens, all with the token's own rank.
#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/errors.h"
#include "base/files.h"
#include "model/text/base64.h"
#include "model/text/byte_level.h"
#include "model/text/split_patterns.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

namespace {

struct Ranks {
  std::vector<std::string> bytes;  // by rank; "" where a rank is unused
  std::unordered_map<std::string_view, int32_t> ids;
};

bool parse_line(std::string_view line, std::string& bytes, int64_t& rank) {
  const size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos) return false;
  auto decoded = decode_base64(line.substr(0, space));
  if (!decoded || decoded->empty()) return false;
  bytes = std::move(*decoded);
  const std::string_view number = line.substr(space + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), rank);
  return error == std::errc() && end == number.data() + number.size() && rank >= 0;
}

Ranks read_ranks(std::string_view text, const std::string& path) {
  constexpr size_t kLongest = 512;  // bytes of a token: each is cut everywhere
  Ranks ranks;
  const int64_t most = most_ids(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')));
  int line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t stop = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, stop - at);
    at = stop + 1;
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    std::string bytes;
    int64_t rank = 0;
    const auto bad = [&](std::string what) {
      throw UserError(Where{path, line_number, 1, "", 1}, std::move(what), "fetch the file again",
                      Exit::bad_data);
    };
    if (!parse_line(line, bytes, rank)) bad("not a token in base64, a space and its rank");
    if (rank >= most) bad(cat("rank ", rank, " is not below ", most));
    if (bytes.size() > kLongest) bad(cat("a token of ", bytes.size(), " bytes"));
    if (static_cast<size_t>(rank) >= ranks.bytes.size()) ranks.bytes.resize(rank + 1);
    if (!ranks.bytes[rank].empty()) bad(cat("rank ", rank, " stands twice"));
    ranks.bytes[rank] = std::move(bytes);
  }
  ranks.ids.reserve(ranks.bytes.size());
  for (size_t id = 0; id < ranks.bytes.size(); ++id) {
    if (!ranks.bytes[id].empty()) ranks.ids.emplace(ranks.bytes[id], static_cast<int32_t>(id));
  }
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    if (ranks.ids.count(std::string_view(&byte, 1)) == 0)
      throw UserError(path, cat("no token for byte ", b), "fetch the file again", Exit::bad_data);
  }
  return ranks;
}

std::vector<Merge> all_merges(const Ranks& ranks) {
  std::vector<Merge> merges;
  for (const std::string& token : ranks.bytes) {
    const std::string_view whole = token;
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const auto left = whole.substr(0, cut), right = whole.substr(cut);
      if (ranks.ids.count(left) == 0 || ranks.ids.count(right) == 0) continue;
      merges.emplace_back(to_byte_characters(left), to_byte_characters(right));
    }
  }
  return merges;
}

enum class Family { gpt2, cl100k, o200k, llama3, qwen, glm4 };

struct Named {
  const char* name;
  Family family;
};
constexpr Named kFiles[] = {{"qwen", Family::qwen},        {"cl100k_base", Family::cl100k},
                            {"o200k_base", Family::o200k}, {"o200k_harmony", Family::o200k},
                            {"r50k_base", Family::gpt2},   {"p50k_base", Family::gpt2},
                            {"gpt2", Family::gpt2}};
constexpr Named kClasses[] = {{"QWenTokenizer", Family::qwen},
                              {"Qwen2Tokenizer", Family::qwen},
                              {"Qwen2TokenizerFast", Family::qwen},
                              {"ChatGLM4Tokenizer", Family::glm4},
                              {"GPT2Tokenizer", Family::gpt2},
                              {"GPT2TokenizerFast", Family::gpt2},
                              {"GPT4Tokenizer", Family::cl100k},
                              {"Phi3SmallTokenizer", Family::cl100k},
                              {"TiktokenTokenizerWrapper", Family::cl100k},
                              {"LlamaTokenizer", Family::llama3},
                              {"LlamaTokenizerFast", Family::llama3},
                              {"PreTrainedTokenizerFast", Family::llama3}};

Family family_of(const std::string& path, const TokenizerConfig& config) {
  const std::string name = base_name(path);
  for (const Named& row : kFiles) {
    if (name == cat(row.name, ".tiktoken")) return row.family;
  }
  if (!config.tokenizer_class.empty()) {
    for (const Named& row : kClasses) {
      if (config.tokenizer_class == row.name) return row.family;
    }
    throw UserError(
        path, cat("the pattern of the tokenizer class ", config.tokenizer_class, " is not known"),
        "use the tokenizer.json of this model", Exit::bad_data);
  }
  if (name == "tokenizer.model") return Family::llama3;
  throw UserError(path, cat("nothing says by which pattern ", name, " cuts text"),
                  "name the tokenizer_class in tokenizer_config.json beside it, or give the file "
                  "the name it was published under (cl100k_base.tiktoken, qwen.tiktoken, …)",
                  Exit::bad_data);
}

int32_t add_special(TokenizerParts& parts, int32_t id, std::string content) {
  AddedToken token;
  token.id = id;
  token.content = std::move(content);
  token.special = true;
  parts.added.set(std::move(token));
  return id;
}

// Llama 3.1 to 3.3; Llama 3.0 names some of these as reserved.
void add_llama3_tokens(int32_t next, TokenizerParts& parts) {
  constexpr const char* kNamed[] = {"begin_of_text",
                                    "end_of_text",
                                    "reserved_special_token_0",
                                    "reserved_special_token_1",
                                    "finetune_right_pad_id",
                                    "reserved_special_token_2",
                                    "start_header_id",
                                    "end_header_id",
                                    "eom_id",
                                    "eot_id",
                                    "python_tag"};
  constexpr int kAll = 256;
  int32_t id = next;
  for (const char* name : kNamed) add_special(parts, id++, cat("<|", name, "|>"));
  for (int i = 3; id < next + kAll; ++i) {
    add_special(parts, id++, cat("<|reserved_special_token_", i, "|>"));
  }
  parts.bos = next;
  parts.eos = next + 1;
  parts.prefix = {next};
}

void add_qwen_tokens(int32_t next, TokenizerParts& parts) {
  constexpr int kExtras = 205;
  parts.eos = add_special(parts, next++, "<|endoftext|>");
  add_special(parts, next++, "<|im_start|>");
  add_special(parts, next++, "<|im_end|>");
  for (int i = 0; i < kExtras; ++i) add_special(parts, next++, cat("<|extra_", i, "|>"));
  parts.normalizer.add([](std::string_view t, bool&, MatchScratch&) {
    return unicode_normalize(t, UnicodeForm::nfc);
  });
}

void add_openai_tokens(const std::string& path, Family family, int32_t next,
                       TokenizerParts& parts) {
  const std::string name = base_name(path);
  if (family == Family::cl100k) {
    parts.eos = add_special(parts, 100257, "<|endoftext|>");
    add_special(parts, 100258, "<|fim_prefix|>");
    add_special(parts, 100259, "<|fim_middle|>");
    add_special(parts, 100260, "<|fim_suffix|>");
    add_special(parts, 100276, "<|endofprompt|>");
  } else if (family == Family::o200k) {
    parts.eos = add_special(parts, 199999, "<|endoftext|>");
    add_special(parts, 200018, "<|endofprompt|>");
  } else if (starts_with(name, "p50k") || starts_with(name, "r50k") || starts_with(name, "gpt2")) {
    parts.eos = add_special(parts, 50256, "<|endoftext|>");
  } else if (const auto end = parts.vocabulary.find("<|endoftext|>")) {
    parts.eos = add_special(parts, *end, "<|endoftext|>");
  } else {
    parts.eos = add_special(parts, next, "<|endoftext|>");
  }
}

const char* pattern_of(Family family) {
  switch (family) {
    case Family::gpt2:
      return kGpt2Pattern;
    case Family::qwen:
      return kQwen2Pattern;
    case Family::o200k:
      return kO200kPattern;
    default:
      return kCl100kPattern;
  }
}

}  // namespace

bool looks_like_tiktoken(std::string_view bytes) {
  std::string_view line = bytes.substr(0, std::min(bytes.find('\n'), bytes.size()));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  std::string token;
  int64_t rank = 0;
  return parse_line(line, token, rank);
}

void load_tiktoken(std::string_view bytes, const std::string& path, const TokenizerConfig& config,
                   TokenizerParts& parts) {
  const bool own = !config.split_pattern.empty();
  const Family family = own ? Family::glm4 : family_of(path, config);
  const Ranks ranks = read_ranks(bytes, path);
  for (size_t id = 0; id < ranks.bytes.size(); ++id) {
    if (ranks.bytes[id].empty()) continue;
    parts.vocabulary.set(static_cast<int32_t>(id), to_byte_characters(ranks.bytes[id]));
  }
  parts.vocabulary.index();
  BpeOptions options;
  options.raw_bytes = true;
  options.ignore_merges = true;
  options.rank_by_token = true;
  parts.model =
      std::make_unique<Bpe>(parts.vocabulary, all_merges(ranks), std::move(options), path);
  const auto next = static_cast<int32_t>(ranks.bytes.size());
  if (family == Family::llama3) {
    add_llama3_tokens(next, parts);
  } else if (family == Family::qwen) {
    add_qwen_tokens(next, parts);
  } else if (family != Family::glm4) {  // GLM-4 names its special tokens in tokenizer_config.json
    add_openai_tokens(path, family, next, parts);
  }
  PreStep split;
  split.pattern = Pattern::regex(own ? config.split_pattern : pattern_of(family), path);
  parts.pre_tokenizer.add(std::move(split));
  DecodeStep decode;
  decode.kind = DecodeStep::Kind::byte_level;
  parts.decoder.push_back(decode);
}

}  // namespace nibble::text
