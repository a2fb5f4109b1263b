// Viterbi over the places of a text: the best way to reach a place is the best way to reach the
// start of its last token, plus that token. The first of equals stands.
#include "model/text/unigram.h"

#include <algorithm>

#include "base/errors.h"
#include "model/text/bpe.h"
#include "model/text/utf8.h"

namespace nibble::text {

Unigram::Unigram(const Vocabulary& vocabulary, const std::vector<UnigramPiece>& pieces,
                 UnigramOptions options)
    : vocabulary_(vocabulary), pieces_(pieces), options_(std::move(options)) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  keys.reserve(pieces_.size());
  for (size_t i = 0; i < pieces_.size(); ++i) {
    keys.emplace_back(pieces_[i].text, static_cast<int32_t>(i));
  }
  tree_.build(std::move(keys));
  for (UnigramPiece& piece : pieces_) piece.text = {};
}

std::vector<Unigram::Cut> Unigram::best_path(std::string_view word) const {
  struct Best {
    double score = 0;
    int32_t id = -1;
    int32_t start = -1;
  };
  std::vector<Best> best(word.size() + 1);
  for (size_t at = 0; at < word.size();) {
    const double here = best[at].score;
    const auto bytes = static_cast<size_t>(std::max(character_at(word, at).bytes, 1));
    bool single = false;
    const auto offer = [&](size_t end, double score, int32_t id) {
      if (best[end].start >= 0 && !(score > best[end].score)) return;
      best[end] = {score, id, static_cast<int32_t>(at)};
    };
    tree_.walk(word, at, [&](size_t length, int32_t index) {
      const UnigramPiece& piece = pieces_[index];
      single = single || length == bytes;
      if (!piece.user_defined) {
        return offer(at + length, piece.score + here, piece.id);
      }
      const float earned = static_cast<float>(length) * static_cast<float>(options_.top_score);
      offer(at + length, static_cast<double>(earned) - 0.1 + here, piece.id);
    });
    if (!single) {
      if (options_.unk < 0) {
        throw UserError(options_.file,
                        cat("\"", word.substr(at, bytes),
                            "\" is not in the vocabulary, which names no unknown token"),
                        "use a tokenizer with unk_id", Exit::bad_data);
      }
      offer(at + bytes, options_.unk_score + here, options_.unk);
    }
    at += bytes;
  }
  std::vector<Cut> cuts;
  for (auto end = static_cast<int32_t>(word.size()); end > 0; end = best[end].start) {
    cuts.push_back(
        {static_cast<uint32_t>(best[end].start), static_cast<uint32_t>(end), best[end].id});
  }
  std::reverse(cuts.begin(), cuts.end());
  return cuts;
}

bool Unigram::emit_bytes(std::string_view run, std::vector<int32_t>& out) const {
  if (!options_.byte_fallback) return false;
  if (!options_.sentencepiece) {
    for (const char b : run) {
      if (options_.byte_ids[static_cast<uint8_t>(b)] < 0) return false;
    }
  }
  for (const char b : run) {
    const int32_t id = options_.byte_ids[static_cast<uint8_t>(b)];
    out.push_back(id < 0 ? options_.unk : id);
  }
  return true;
}

void Unigram::emit_run(std::string_view run, std::vector<int32_t>& out) const {
  if (!options_.sentencepiece) {
    if (const auto id = vocabulary_.find(run)) return out.push_back(*id);
  }
  if (!emit_bytes(run, out)) out.push_back(options_.unk);
}

void Unigram::encode_word(std::string_view word, std::vector<int32_t>& out, SubwordScratch&) const {
  const std::vector<Cut> cuts = best_path(word);
  const bool each = options_.sentencepiece && options_.byte_fallback;
  for (size_t i = 0; i < cuts.size();) {
    if (cuts[i].id != options_.unk) {
      out.push_back(cuts[i++].id);
      continue;
    }
    size_t end = i + 1;
    while (!each && end < cuts.size() && cuts[end].id == options_.unk) ++end;
    emit_run(word.substr(cuts[i].begin, cuts[end - 1].end - cuts[i].begin), out);
    i = end;
  }
}

}  // namespace nibble::text
