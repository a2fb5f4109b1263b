// Text to token ids and back, for training, serving and scoring alike. One Tokenizer reads what a
// Hugging Face directory holds: tokenizer.json, tokenizer.model (SentencePiece or tiktoken),
// *.tiktoken, vocab.json with merges.txt, or vocab.txt; ids are those of the reference libraries.
// Immutable once loaded, safe to share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct TokenizerChange;
struct TokenOffset;

namespace text {
struct AddedToken;
struct TokenizerParts;
struct GgufVocabulary;
class DecodeState;
}  // namespace text

class Tokenizer {
 public:
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Throws UserError: 66 when the directory holds no tokenizer (names the files looked for), 65
  // when a file is damaged or needs a component that nibble does not have yet (names it).
  // A GGUF file counts as a directory.
  static std::unique_ptr<Tokenizer> load(const std::string& directory);
  static bool present(const std::string& directory);
  // A directory as load(), or one file alone: tokenizer.json, a SentencePiece .model, *.tiktoken,
  // vocab.json or merges.txt (the other stands beside it), vocab.txt. What the file holds decides
  // where its name does not.
  static std::unique_ptr<Tokenizer> open(const std::string& path);
  static std::unique_ptr<Tokenizer> from_gguf(const text::GgufVocabulary& vocabulary);
  // The same from memory; `name` is what messages call the file.
  enum class FileKind { tokenizer_json, sentencepiece, tiktoken, vocab_txt };
  static std::unique_ptr<Tokenizer> from_bytes(FileKind kind, std::string_view bytes,
                                               const std::string& name);

  struct EncodeOptions {
    bool add_special_tokens = true;  // BOS/EOS as the tokenizer's own template puts them
    // Text that spells a special token ("<|im_end|>") becomes its id. false: it stays ordinary
    // text, for content that nobody vouches for.
    bool parse_special = true;
  };
  // Invalid UTF-8 becomes U+FFFD.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const;
  std::vector<int32_t> encode(std::string_view text) const;
  // Two texts as the tokenizer's template joins them.
  std::vector<int32_t> encode_pair(std::string_view first, std::string_view second,
                                   EncodeOptions options) const;

  // The same ids, each with its place in the text (tokenizer_offsets.h), as the Hugging Face
  // library gives it; in text that is no UTF-8, U+FFFD counts. Throws UserError for a tokenizer
  // that was not read from a tokenizer.json or a vocab.txt.
  std::vector<TokenOffset> encode_with_offsets(std::string_view text, EncodeOptions options) const;

  // As the Hugging Face library decodes with clean_up_tokenization_spaces=false: unknown ids are
  // left out, bytes that are no UTF-8 become U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // Raw bytes that this id contributes in the middle of a text; may be part of a character.
  std::string token_bytes(int32_t id) const;
  std::string token_text(int32_t id) const;  // the vocabulary's spelling; "" for an unused id
  std::optional<int32_t> id_of(std::string_view token) const;  // by spelling
  int32_t vocab_size() const;  // largest id + 1, added tokens included

  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  std::optional<int32_t> pad() const;
  std::optional<int32_t> unk() const;
  bool adds_bos() const;  // whether encode() with special tokens begins with bos()
  bool adds_eos() const;
  bool is_special(int32_t id) const;
  const text::AddedToken* added_token(int32_t id) const;  // null for a token of the model
  std::string chat_template() const;                      // Jinja source, "" when there is none

 private:
  friend class StreamDecoder;
  friend struct TokenizerLoad;
  friend int32_t change_tokenizer(Tokenizer& tokenizer, const TokenizerChange& change);
  explicit Tokenizer(std::unique_ptr<text::TokenizerParts> parts);
  std::unique_ptr<text::TokenizerParts> parts_;
};

// Emits text as ids arrive: never half a character, and all it emitted together is what decode()
// gives for all ids. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  std::string push(int32_t id);
  std::string finish();  // what was held back; the decoder starts anew after it

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::unique_ptr<text::DecodeState> state_;
};

}  // namespace nibble
