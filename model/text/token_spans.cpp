// What each model's tokens cover. A BPE symbol is as long as the text it came from, and characters
// that are dropped shift what follows, as in the Hugging Face library.
#include "base/errors.h"
#include "model/text/bpe.h"
#include "model/text/unigram.h"
#include "model/text/word_models.h"

namespace nibble::text {

void Bpe::spans(std::string_view piece, std::vector<TokenSpan>& out,
                SubwordScratch& scratch) const {
  if (options_.ignore_merges) {
    const auto id = options_.raw_bytes ? raw_.find(piece) : vocabulary_.find(piece);
    if (id) return out.push_back({*id, 0, piece.size()});
  }
  std::vector<Symbol>& symbols = scratch.symbols;
  start_symbols(piece, symbols);
  merge_symbols(scratch, [&](const Symbol& a, const Symbol& b) { return table_.find(a.id, b.id); });
  size_t at = 0;
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
    out.push_back({symbols[i].id, at, at + symbols[i].bytes});
    at += symbols[i].bytes;
  }
}

void Unigram::spans(std::string_view piece, std::vector<TokenSpan>& out, SubwordScratch&) const {
  const std::vector<Cut> cuts = best_path(piece);
  std::vector<int32_t> ids;
  for (size_t i = 0; i < cuts.size();) {
    size_t end = i + 1;
    ids.clear();
    if (cuts[i].id != options_.unk) {
      ids.push_back(cuts[i].id);
    } else {
      while (end < cuts.size() && cuts[end].id == options_.unk) ++end;
      emit_run(piece.substr(cuts[i].begin, cuts[end - 1].end - cuts[i].begin), ids);
    }
    for (const int32_t id : ids) out.push_back({id, cuts[i].begin, cuts[end - 1].end});
    i = end;
  }
}

void WordLevel::spans(std::string_view piece, std::vector<TokenSpan>& out,
                      SubwordScratch& scratch) const {
  std::vector<int32_t> ids;
  encode_word(piece, ids, scratch);
  for (const int32_t id : ids) out.push_back({id, 0, piece.size()});
}

void WordPiece::spans(std::string_view piece, std::vector<TokenSpan>& out,
                      SubwordScratch& scratch) const {
  std::vector<int32_t> ids;
  encode_word(piece, ids, scratch);
  if (ids.size() == 1) return out.push_back({ids[0], 0, piece.size()});  // maybe the unknown one
  size_t at = 0;
  for (const int32_t id : ids) {
    const size_t bytes = vocabulary_.text(id)->size() - (at > 0 ? options_.prefix.size() : 0);
    out.push_back({id, at, at + bytes});
    at += bytes;
  }
  check(at == piece.size(), "WordPiece: the parts are the word");
}

}  // namespace nibble::text
