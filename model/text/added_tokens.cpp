// The search and the rules of lstrip, rstrip and single_word are the Hugging Face library's.
#include "model/text/added_tokens.h"

#include <algorithm>

#include "model/text/utf8.h"

namespace nibble::text {

namespace {

size_t previous_character(std::string_view text, size_t at) {
  --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(character_at(text, previous_character(text, text.size())).code);
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word(character_at(text, 0).code);
}

size_t white_space_from(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (c.bytes == 0 || !is_white_space(c.code)) break;
    at += c.bytes;
  }
  return at;
}

size_t white_space_before(std::string_view text, size_t at, size_t floor) {
  while (at > floor) {
    const size_t before = previous_character(text, at);
    if (before < floor || !is_white_space(character_at(text, before).code)) break;
    at = before;
  }
  return at;
}

}  // namespace

void AddedTokens::set(AddedToken token) {
  auto place = by_content_.find(token.content);
  size_t at = tokens_.size();
  if (place != by_content_.end()) {
    at = place->second;
  } else if (const auto same = by_id_.find(token.id); same != by_id_.end()) {
    at = same->second;
    by_content_.erase(tokens_[at].content);
  }
  if (at == tokens_.size()) {
    tokens_.emplace_back();
  } else {
    by_id_.erase(tokens_[at].id);
  }
  by_id_[token.id] = at;
  by_content_[token.content] = at;
  tokens_[at] = std::move(token);
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &tokens_[at->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto at = by_content_.find(std::string(content));
  return at == by_content_.end() ? nullptr : &tokens_[at->second];
}

void AddedTokens::insert(Trie& trie, std::string_view text, int32_t token) {
  if (text.empty()) return;
  if (trie.empty()) trie.emplace_back();
  int32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    auto& children = trie[node].children;
    const auto at =
        std::lower_bound(children.begin(), children.end(), std::make_pair(byte, int32_t{0}));
    if (at != children.end() && at->first == byte) {
      node = at->second;
      continue;
    }
    const auto made = static_cast<int32_t>(trie.size());
    children.insert(at, {byte, made});
    trie.emplace_back();
    node = made;
  }
  if (trie[node].token < 0) trie[node].token = token;
}

void AddedTokens::build(const std::function<std::string(std::string_view)>& normalize) {
  for (Trie& trie : tries_) trie.clear();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& t = tokens_[i];
    if (!t.in_text) continue;
    if (!t.normalized) {
      insert(tries_[0], t.content, static_cast<int32_t>(i));
      continue;
    }
    t.surface = normalize(t.content);  // decoding undoes what normalizing did
    insert(tries_[1], *t.surface, static_cast<int32_t>(i));
  }
}

std::pair<int32_t, size_t> AddedTokens::longest_at(const Trie& trie, std::string_view text,
                                                   size_t at) const {
  std::pair<int32_t, size_t> longest{-1, 0};
  int32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto& children = trie[node].children;
    const auto child =
        std::lower_bound(children.begin(), children.end(), std::make_pair(byte, int32_t{0}));
    if (child == children.end() || child->first != byte) break;
    node = child->second;
    if (trie[node].token >= 0) longest = {trie[node].token, i + 1 - at};
  }
  return longest;
}

void AddedTokens::split(std::string_view text, Where where, bool parse_special,
                        std::vector<Span>& out) const {
  const Trie& trie = tries_[static_cast<int>(where)];
  if (trie.empty()) {
    if (!text.empty()) out.push_back({text, -1});
    return;
  }
  bool starts[256] = {};
  for (const auto& child : trie[0].children) starts[child.first] = true;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!starts[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const auto [index, bytes] = longest_at(trie, text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + bytes;
    at = end;  // the search goes on behind the match, also when the match is not taken
    const AddedToken& token = tokens_[index];
    if (token.special && !parse_special) continue;
    if (token.single_word &&
        (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) begin = white_space_before(text, begin, done);
    if (token.rstrip) end = white_space_from(text, end);
    if (begin > done) out.push_back({text.substr(done, begin - done), -1});
    out.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({text.substr(done), -1});
}

}  // namespace nibble::text
