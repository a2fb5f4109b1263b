// A word that cannot be cut whole is unknown whole. No part is longer than the longest token, so a
// word of any length costs no more than its length times that.
#include "model/text/word_models.h"

#include <algorithm>

#include "base/errors.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

[[noreturn]] void no_unknown(const std::string& file, std::string_view word) {
  throw UserError(
      file,
      cat("\"", word.substr(0, 60), "\" is not in the vocabulary, which has no unknown token"),
      "add the token that unk_token names to the vocabulary", Exit::bad_data);
}

}  // namespace

WordLevel::WordLevel(const Vocabulary& vocabulary, std::string_view unk, std::string file)
    : vocabulary_(vocabulary), unk_(vocabulary.find(unk)), file_(std::move(file)) {}

void WordLevel::encode_word(std::string_view word, std::vector<int32_t>& out,
                            SubwordScratch&) const {
  const auto id = vocabulary_.find(word);
  if (!id && !unk_) no_unknown(file_, word);
  out.push_back(id ? *id : *unk_);
}

WordPiece::WordPiece(const Vocabulary& vocabulary, WordPieceOptions options, std::string file)
    : vocabulary_(vocabulary),
      options_(std::move(options)),
      unk_(vocabulary.find(options_.unk)),
      file_(std::move(file)) {
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (const std::string* text = vocabulary_.text(id)) {
      longest_token_ = std::max(longest_token_, text->size());
    }
  }
}

bool WordPiece::cut(std::string_view word, std::vector<int32_t>& out) const {
  std::string part;
  for (size_t start = 0; start < word.size();) {
    size_t end = std::min(word.size(), start + longest_token_);
    const auto whole = [&] {  // back to where a character ends
      while (end > start && end < word.size() && (static_cast<uint8_t>(word[end]) & 0xC0) == 0x80)
        --end;
    };
    std::optional<int32_t> id;
    for (whole(); end > start; --end, whole()) {
      part = start > 0 ? options_.prefix : "";
      part += word.substr(start, end - start);
      if ((id = vocabulary_.find(part))) break;
    }
    if (!id) return false;
    out.push_back(*id);
    start = end;
  }
  return true;
}

void WordPiece::encode_word(std::string_view word, std::vector<int32_t>& out,
                            SubwordScratch&) const {
  int64_t characters = 0;
  for (const char c : word) characters += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  const size_t before = out.size();
  if (characters <= options_.longest && cut(word, out)) return;
  out.resize(before);
  if (!unk_) no_unknown(file_, word);
  out.push_back(*unk_);
}

}  // namespace nibble::text
