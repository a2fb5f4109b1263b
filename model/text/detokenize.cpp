// Each stage passes on what later input cannot change and holds the rest: an open run of bytes,
// half a character, white space that may turn out to be the end.
#include "model/text/detokenize.h"

#include "base/text.h"
#include "model/text/bpe.h"
#include "model/text/byte_level.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

using Kind = DecodeStep::Kind;

std::string replaced(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  size_t from = 0;
  for (size_t at; !pattern.empty() && (at = text.find(pattern, from)) != std::string_view::npos;) {
    out.append(text.substr(from, at - from));
    out.append(content);
    from = at + pattern.size();
  }
  out.append(text.substr(from));
  return out;
}

bool begins(std::string_view text, std::string_view with) {
  return !with.empty() && text.substr(0, with.size()) == with;
}

bool ends(std::string_view text, std::string_view with) {
  return !with.empty() && text.size() >= with.size() &&
         text.substr(text.size() - with.size()) == with;
}

}  // namespace

std::string bytes_of_token(const DecodeChain& chain, std::string_view token) {
  std::string now(token);
  for (const DecodeStep& step : chain) {
    if (step.kind == Kind::replace) {
      now = replaced(now, step.pattern, step.content);
    } else if (step.kind == Kind::metaspace) {
      now = replaced(now, step.pattern, " ");
    } else if (step.kind == Kind::byte_level) {
      if (auto bytes = from_byte_characters(now)) now = *bytes;
    } else if (step.kind == Kind::byte_fallback || step.kind == Kind::byte_runs) {
      if (const auto byte = byte_of_piece(now)) return std::string(1, static_cast<char>(*byte));
    }
  }
  return now;
}

DecodeState::DecodeState(const DecodeChain& chain) : chain_(&chain) { reset(); }

void DecodeState::reset() {
  stages_.assign(chain_->size(), {});
  bool fused = false;
  for (size_t i = 0; i < chain_->size(); ++i) {
    stages_[i].fused = fused;
    const Kind kind = (*chain_)[i].kind;
    fused = fused || kind == Kind::fuse || kind == Kind::byte_level;
  }
}

void DecodeState::push(std::string_view token, std::string& out) { feed(0, token, out); }

void DecodeState::feed(size_t stage, std::string_view token, std::string& out) {
  if (stage == stages_.size()) {
    out.append(token);
    return;
  }
  const DecodeStep& step = (*chain_)[stage];
  Stage& s = stages_[stage];
  switch (step.kind) {
    case Kind::replace:
      return feed(stage + 1, replaced(token, step.pattern, step.content), out);
    case Kind::metaspace: {
      const bool drop = step.drop_first && !s.started;
      s.started = true;
      return feed(stage + 1, replaced(token, step.pattern, drop ? "" : " "), out);
    }
    case Kind::spaced:
      if (s.started) feed(stage + 1, " ", out);
      s.started = true;
      return feed(stage + 1, token, out);
    case Kind::fuse:
      return feed(stage + 1, token, out);
    case Kind::strip:
      return feed_strip(stage, token, out);
    case Kind::byte_fallback:
    case Kind::byte_runs:
    case Kind::byte_level:
      return feed_bytes(stage, token, out);
  }
}

void DecodeState::feed_bytes(size_t stage, std::string_view token, std::string& out) {
  const DecodeStep& step = (*chain_)[stage];
  Stage& s = stages_[stage];
  if (step.kind == Kind::byte_level) {
    const auto bytes = from_byte_characters(token);
    s.held += bytes ? *bytes : std::string(token);
    std::string whole;
    s.held.erase(0, append_lossy(whole, s.held, Broken::per_start, false));
    return feed(stage + 1, whole, out);
  }
  const auto byte = byte_of_piece(token);
  if (!byte) {
    flush(stage, out);
    return feed(stage + 1, token, out);
  }
  s.held.push_back(static_cast<char>(*byte));
  if (step.kind == Kind::byte_runs) {
    std::string whole;
    s.held.erase(0, append_lossy(whole, s.held, Broken::per_byte, false));
    if (!whole.empty()) feed(stage + 1, whole, out);
  }
}

void DecodeState::feed_strip(size_t stage, std::string_view token, std::string& out) {
  const DecodeStep& step = (*chain_)[stage];
  Stage& s = stages_[stage];
  if (!s.fused) {
    for (int i = 0; i < step.start && begins(token, step.pattern); ++i) {
      token.remove_prefix(step.pattern.size());
    }
    for (int i = 0; i < step.stop && ends(token, step.pattern); ++i) {
      token.remove_suffix(step.pattern.size());
    }
    return feed(stage + 1, token, out);
  }
  while (!s.started && !token.empty()) {
    if (s.stripped < step.start && begins(token, step.pattern)) {
      token.remove_prefix(step.pattern.size());
      ++s.stripped;
    } else {
      s.started = true;
    }
  }
  if (step.stop == 0) return feed(stage + 1, token, out);
  s.held += token;
  std::string_view sure = s.held;
  for (int i = 0; i < step.stop && ends(sure, step.pattern); ++i) {
    sure.remove_suffix(step.pattern.size());
  }
  const std::string pass(sure);
  s.held.erase(0, pass.size());
  feed(stage + 1, pass, out);
}

void DecodeState::flush(size_t stage, std::string& out) {
  Stage& s = stages_[stage];
  if (s.held.empty()) return;
  const std::string held = std::move(s.held);
  s.held.clear();
  const Kind kind = (*chain_)[stage].kind;
  if (kind == Kind::strip) return;  // the held characters were the end
  std::string text;
  if (kind == Kind::byte_level) {
    text = lossy_utf8(held, Broken::per_start);
  } else if (kind == Kind::byte_fallback && !valid_utf8(held)) {
    for (size_t i = 0; i < held.size(); ++i) text += "\xEF\xBF\xBD";
  } else {
    text = lossy_utf8(held, Broken::per_byte);
  }
  feed(stage + 1, text, out);
}

void DecodeState::finish(std::string& out) {
  for (size_t stage = 0; stage < stages_.size(); ++stage) flush(stage, out);
  reset();
}

}  // namespace nibble::text
