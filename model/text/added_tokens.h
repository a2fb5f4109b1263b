// Tokens that stand outside the merges: found in the text first, the longest at the leftmost place.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nibble::text {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;
  bool lstrip = false, rstrip = false;  // takes the white space on that side with it
  bool single_word = false;             // only where no word character touches it
  bool normalized = false;              // looked for in the normalized text
  bool in_text = true;                  // false: no text is ever taken for it
  std::optional<std::string> surface;   // what decoding writes, where that is not the content
};

class AddedTokens {
 public:
  void set(AddedToken token);  // replaces the token of the same spelling or id
  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  const std::vector<AddedToken>& all() const { return tokens_; }
  // Call after the last set(). `normalize` gives a token's spelling in normalized text.
  void build(const std::function<std::string(std::string_view)>& normalize);

  struct Span {
    std::string_view text;
    int32_t id = -1;  // -1: ordinary text
  };
  enum class Where { raw, normalized };
  // Cuts text into spans, in order, nothing left out. Special tokens are text unless parsed.
  void split(std::string_view text, Where where, bool parse_special, std::vector<Span>& out) const;
  bool any(Where where) const { return !tries_[static_cast<int>(where)].empty(); }

 private:
  struct Node {
    std::vector<std::pair<uint8_t, int32_t>> children;  // sorted by byte
    int32_t token = -1;                                 // index in tokens_
  };
  using Trie = std::vector<Node>;
  static void insert(Trie& trie, std::string_view text, int32_t token);
  std::pair<int32_t, size_t> longest_at(const Trie& trie, std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
  Trie tries_[2];
};

}  // namespace nibble::text
