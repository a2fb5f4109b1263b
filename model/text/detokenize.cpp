// Each stage passes on what later input cannot change and holds the rest: an open run of bytes,
// half a character, white space that may turn out to be the end.
#include "model/text/detokenize.h"

#include "base/text.h"
#include "model/text/bpe.h"
#include "model/text/byte_level.h"
#include "model/text/growth.h"
#include "model/text/normalize.h"
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
    if (content.size() > pattern.size()) check_growth(out.size(), 0);
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

// The English cleanup of the Hugging Face library, in its order.
std::string cleaned(std::string_view text) {
  constexpr const char* kRules[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                       {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                       {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                       {" 've", "'ve"}, {" 're", "'re"}};
  std::string now(text);
  for (const auto& rule : kRules) now = replaced(now, rule[0], rule[1]);
  return now;
}

std::string without_padding(const DecodeStep& step, std::string_view token) {
  std::string now = replaced(token, step.pattern, "");
  return step.cleanup ? replaced(cleaned(now), step.content, " ") : now;
}

// A token behind the first.
std::string word_piece_text(const DecodeStep& step, std::string_view token) {
  std::string now;
  if (begins(token, step.pattern) || step.pattern.empty()) {
    now = token.substr(step.pattern.size());
  } else {
    now = cat(" ", token);
  }
  return step.cleanup ? cleaned(now) : now;
}

}  // namespace

std::string bytes_of_token(const DecodeChain& chain, std::string_view token) {
  std::string now(token);
  for (const DecodeStep& step : chain) {
    if (step.kind == Kind::replace && step.regex) {
      MatchScratch scratch;
      now = replace_all(now, *step.regex, step.content, scratch);
    } else if (step.kind == Kind::replace) {
      now = replaced(now, step.pattern, step.content);
    } else if (step.kind == Kind::word_piece) {
      now = word_piece_text(step, now);
    } else if (step.kind == Kind::word_end) {
      now = replaced(now, step.pattern, " ");
    } else if (step.kind == Kind::ctc) {
      now = without_padding(step, now);
    } else if (step.kind == Kind::metaspace || step.kind == Kind::piece_spaces) {
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
  constexpr size_t kLongest = size_t{64}
                              << 20;  // a chain of steps may lengthen a token, not so far
  if (token.size() > kLongest) check_growth(token.size(), 0);
  if (stage == stages_.size()) {
    out.append(token);
    return;
  }
  const DecodeStep& step = (*chain_)[stage];
  Stage& s = stages_[stage];
  if (step.whole) {
    s.held += token;
    return;
  }
  switch (step.kind) {
    case Kind::replace:
      return feed(stage + 1, changed(step, token), out);
    case Kind::word_piece:
    case Kind::word_end:
    case Kind::ctc:
      return feed_words(stage, token, out);
    case Kind::metaspace: {
      const bool drop = step.drop_first && !s.started;
      s.started = true;
      return feed(stage + 1, replaced(token, step.pattern, drop ? "" : " "), out);
    }
    case Kind::piece_spaces:
      return feed_spaces(stage, token, out);
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

// What a step makes of one token that is the first and the last.
std::string DecodeState::changed(const DecodeStep& step, std::string_view token) {
  switch (step.kind) {
    case Kind::replace:
      if (!step.regex) return replaced(token, step.pattern, step.content);
      if (!match_) match_ = std::make_unique<MatchScratch>();
      return replace_all(token, *step.regex, step.content, *match_);
    case Kind::metaspace:
      return replaced(token, step.pattern, step.drop_first ? "" : " ");
    case Kind::word_piece:
      return step.cleanup ? cleaned(token) : std::string(token);
    case Kind::word_end:
      return replaced(token, step.pattern, "");
    case Kind::ctc:
      return without_padding(step, token);
    case Kind::byte_level: {
      const auto bytes = from_byte_characters(token);
      return lossy_utf8(bytes ? *bytes : std::string(token), Broken::per_start);
    }
    case Kind::byte_fallback: {
      const auto byte = byte_of_piece(token);
      if (!byte) return std::string(token);
      return lossy_utf8(std::string(1, static_cast<char>(*byte)), Broken::per_byte);
    }
    default:
      return std::string(token);
  }
}

void DecodeState::feed_words(size_t stage, std::string_view token, std::string& out) {
  const DecodeStep& step = (*chain_)[stage];
  Stage& s = stages_[stage];
  const bool first = !s.started;
  s.started = true;
  if (step.kind == Kind::word_piece) {
    return feed(stage + 1, first ? changed(step, token) : word_piece_text(step, token), out);
  }
  if (step.kind == Kind::word_end) {  // one token waits: it may be the last
    if (!first) feed(stage + 1, replaced(s.held, step.pattern, " "), out);
    s.held = std::string(token);
    return;
  }
  if (!first && s.held == token) return;
  s.held = std::string(token);
  if (const std::string text = without_padding(step, token); !text.empty()) {
    feed(stage + 1, text, out);
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

void DecodeState::feed_spaces(size_t stage, std::string_view token, std::string& out) {
  const DecodeStep& step = (*chain_)[stage];
  Stage& s = stages_[stage];
  bool dropped = false;
  if (!s.started && step.drop_first && begins(token, step.pattern)) {
    token.remove_prefix(step.pattern.size());
    dropped = true;
  }
  s.started = s.started || !token.empty() || (dropped && !step.drop_more);
  feed(stage + 1, replaced(token, step.pattern, " "), out);
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
  if (kind == Kind::strip) return;                           // the held characters were the end
  if (kind == Kind::ctc && !(*chain_)[stage].whole) return;  // the last token, written before
  std::string text;
  if ((*chain_)[stage].whole || kind == Kind::word_end) {
    text = changed((*chain_)[stage], held);
  } else if (kind == Kind::byte_level) {
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
