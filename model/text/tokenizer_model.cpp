// tokenizer.model as the Hugging Face Llama tokenizer takes it: control pieces are special tokens
// found in the text, each stretch between them is normalized and cut by SentencePiece's rules.
#include "model/text/sentencepiece.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

namespace {

DecodeStep step(DecodeStep::Kind kind) {
  DecodeStep out;
  out.kind = kind;
  return out;
}

// As the Hugging Face library puts it: one space goes from the front.
void add_decoder(const SpmFile& file, DecodeChain& chain) {
  DecodeStep spaces = step(DecodeStep::Kind::replace);
  spaces.pattern = std::string(kSpaceMark);
  spaces.content = " ";
  chain.push_back(spaces);
  chain.push_back(step(DecodeStep::Kind::byte_runs));
  chain.push_back(step(DecodeStep::Kind::fuse));
  if (!file.add_dummy_prefix) return;
  DecodeStep strip = step(DecodeStep::Kind::strip);
  strip.pattern = " ";
  (file.space_is_suffix ? strip.stop : strip.start) = 1;
  chain.push_back(strip);
}

void add_plain_decoder(const SpmFile& file, DecodeChain& chain) {
  DecodeStep spaces = step(DecodeStep::Kind::piece_spaces);
  spaces.pattern = std::string(kSpaceMark);
  spaces.drop_first = file.add_dummy_prefix || file.remove_extra_spaces;
  spaces.drop_more = file.remove_extra_spaces;
  chain.push_back(spaces);
  chain.push_back(step(DecodeStep::Kind::byte_runs));
}

}  // namespace

void load_tokenizer_model(std::string_view bytes, const std::string& path,
                          const TokenizerConfig& config, bool plain, TokenizerParts& parts) {
  SpmFile file = parse_spm(bytes, path);
  if (config.add_prefix_space) file.add_dummy_prefix = *config.add_prefix_space;
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    const SpmPiece& piece = file.pieces[i];
    const auto id = static_cast<int32_t>(i);
    parts.vocabulary.set(id, piece.text);
    if (piece.type != PieceType::control && piece.type != PieceType::unknown) continue;
    AddedToken token;
    token.id = id;
    token.content = piece.text;
    token.in_text = !plain;
    // SentencePiece writes unknown pieces, and never a control piece.
    const bool unknown = piece.type == PieceType::unknown;
    token.special = !plain || !unknown;
    if (plain) token.surface = unknown ? file.unk_surface : "";
    parts.added.set(std::move(token));
  }
  parts.vocabulary.index();

  const auto set = [](std::optional<int32_t>& into, int32_t id) {
    if (id >= 0) into = id;
  };
  set(parts.bos, file.bos_id);
  set(parts.eos, file.eos_id);
  set(parts.pad, file.pad_id);
  set(parts.unk, file.unk_id);

  // Legacy behavior: every stretch between special tokens gets the leading space, not only the
  // first.
  const bool every = config.legacy.value_or(true);
  parts.mends_utf8 = true;
  parts.normalizer.add([normalizer = SpmNormalizer(file, path), every](std::string_view text,
                                                                       bool first, MatchScratch&) {
    return normalizer.run(text, every || first);
  });
  parts.model = make_spm_model(file, parts.vocabulary, path);
  if (plain) {
    add_plain_decoder(file, parts.decoder);
  } else {
    add_decoder(file, parts.decoder);
  }
}

}  // namespace nibble::text
