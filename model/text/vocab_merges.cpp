// vocab.json + merges.txt: GPT-2's byte-level BPE, with Qwen2's pattern and NFC where the
// tokenizer_class says so.
#include <algorithm>

#include "base/files.h"
#include "model/text/tokenizer_json_reader.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

namespace {

void read_vocab(const std::string& path, Vocabulary& vocabulary) {
  const JsonReader json(path, read_file(path));
  const auto entries = json.object(json.root(), "the vocabulary");
  const int64_t most = most_ids(entries.size());
  for (const auto& [token, value] : entries) {
    const int64_t id = json.number(value, token);
    if (id < 0 || id >= most) {
      json.bad(cat("token \"", token, "\" has id ", id, ", not between 0 and ", most));
    }
    vocabulary.set(static_cast<int32_t>(id), std::string(token));
  }
  vocabulary.index();
}

// One merge a line, "left right"; a first line "#version: …" is a remark.
std::vector<Merge> read_merges(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<Merge> merges;
  int line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t stop = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, stop - at);
    at = stop + 1;
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || starts_with(line, "#version")) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      throw UserError(Where{path, line_number, 1, std::string(line), 1},
                      cat("\"", line, "\" is not two tokens with a space between them"),
                      "fetch merges.txt again", Exit::bad_data);
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

}  // namespace

void load_vocab_merges(const std::string& vocab_path, const std::string& merges,
                       const TokenizerConfig& config, TokenizerParts& parts) {
  read_vocab(vocab_path, parts.vocabulary);
  BpeOptions options;
  options.raw_bytes = true;
  parts.model =
      std::make_unique<Bpe>(parts.vocabulary, read_merges(merges), std::move(options), merges);

  const bool qwen = starts_with(config.tokenizer_class, "Qwen2");
  if (qwen) {
    parts.normalizer.add([](std::string_view t, bool&, MatchScratch&) {
      return unicode_normalize(t, UnicodeForm::nfc);
    });
    PreStep split;
    split.pattern = Pattern::regex(kQwen2Pattern, "");
    parts.pre_tokenizer.add(std::move(split));
  }
  parts.pre_tokenizer.add_byte_level(config.add_prefix_space.value_or(false), !qwen);
  parts.pre_tokenizer.take_byte_map();
  DecodeStep bytes;
  bytes.kind = DecodeStep::Kind::byte_level;
  parts.decoder.push_back(bytes);

  // The token both families were made with, should no other file name one.
  if (const auto id = parts.vocabulary.find("<|endoftext|>")) {
    AddedToken end;
    end.id = *id;
    end.content = "<|endoftext|>";
    end.special = true;
    parts.added.set(end);
    parts.eos = id;
    if (!qwen) parts.bos = id;
  }
}

}  // namespace nibble::text
