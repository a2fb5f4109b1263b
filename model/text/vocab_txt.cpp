// vocab.txt: BERT's tokenizer, put together as the Hugging Face library does for it.
#include "base/errors.h"
#include "model/text/tokenizer_parts.h"
#include "model/text/word_models.h"

namespace nibble::text {

namespace {

// White space at the end of a line is no part of the token.
std::string_view token_of(std::string_view line) {
  while (!line.empty()) {
    size_t start = line.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(line[start]) & 0xC0) == 0x80) --start;
    const Character c = character_at(line, start);
    if (c.bytes == 0 || !is_white_space(c.code)) break;
    line = line.substr(0, start);
  }
  return line;
}

void read_lines(std::string_view bytes, const std::string& path, Vocabulary& vocabulary) {
  int32_t id = 0;
  for (size_t at = 0; at < bytes.size(); ++id) {
    const size_t stop = std::min(bytes.find('\n', at), bytes.size());
    const std::string_view line = token_of(bytes.substr(at, stop - at));
    if (!valid_utf8(line)) {
      throw UserError(Where{path, id + 1, 1, "", 1}, "not UTF-8: this is no vocabulary",
                      "fetch vocab.txt again", Exit::bad_data);
    }
    vocabulary.set(id, std::string(line));
    at = stop + 1;
  }
  vocabulary.index();
}

}  // namespace

void load_vocab_txt(std::string_view bytes, const std::string& path, const TokenizerConfig& config,
                    TokenizerParts& parts) {
  read_lines(bytes, path, parts.vocabulary);
  const auto need = [&](const std::optional<std::string>& named, const char* otherwise) {
    const std::string name = named.value_or(otherwise);
    const auto id = parts.vocabulary.find(name);
    if (!id) {
      throw UserError(path, cat("no token \"", name, "\": this is no vocabulary of BERT's kind"),
                      "it needs [UNK], [CLS] and [SEP], or what tokenizer_config.json names",
                      Exit::bad_data);
    }
    AddedToken token;
    token.id = *id;
    token.content = name;
    token.special = true;
    parts.added.set(std::move(token));
    return *id;
  };
  parts.unk = need(config.unk, "[UNK]");
  parts.prefix = {need(config.cls, "[CLS]")};
  parts.suffix = {need(config.sep, "[SEP]")};
  parts.pair = {parts.prefix[0], -1, parts.suffix[0], -2, parts.suffix[0]};
  for (const auto& [named, otherwise] :
       {std::pair{config.pad, "[PAD]"}, std::pair{config.mask, "[MASK]"}}) {
    if (parts.vocabulary.find(named.value_or(otherwise))) need(named, otherwise);
  }
  parts.pad = parts.vocabulary.find(config.pad.value_or("[PAD]"));

  BertNormalizer bert;
  bert.lower = config.do_lower_case.value_or(true);
  bert.accents = config.strip_accents.value_or(bert.lower);
  bert.chinese = config.tokenize_chinese_chars.value_or(true);
  add_bert_normalizer(bert, parts.normalizer);
  PreStep step;
  step.kind = PreStep::Kind::white_space;
  parts.pre_tokenizer.add(step);
  step.kind = PreStep::Kind::punctuation;
  parts.pre_tokenizer.add(step);
  WordPieceOptions options;
  options.unk = config.unk.value_or("[UNK]");
  parts.model = std::make_unique<WordPiece>(parts.vocabulary, std::move(options), path);
  DecodeStep decode;
  decode.kind = DecodeStep::Kind::word_piece;
  decode.pattern = "##";
  decode.cleanup = true;
  parts.decoder.push_back(decode);
  parts.aligns = true;
}

}  // namespace nibble::text
