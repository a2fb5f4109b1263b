// Every step maps pieces to pieces; the five behaviours of a split are those of the Hugging Face
// library, read off its definition of each as a fold over (range, is a match).
#include "model/text/pretokenize.h"

#include <algorithm>

#include "model/text/byte_level.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

struct Range {
  size_t begin, end;
  bool match;
};

void split_by_pattern(std::string_view text, const Pattern& pattern, MatchScratch& scratch,
                      std::vector<Range>& out) {
  size_t done = 0, from = 0;
  while (from <= text.size()) {
    const Pattern::Match m = pattern.find(text, from, scratch);
    if (!m.found) break;
    if (m.begin > done) out.push_back({done, m.begin, false});
    if (m.end > m.begin) out.push_back({m.begin, m.end, true});
    done = m.end;
    from = m.end;
    if (m.end == m.begin) {
      const Character c = character_at(text, m.end);
      from += c.bytes > 0 ? c.bytes : 1;
    }
  }
  if (done < text.size()) out.push_back({done, text.size(), false});
}

// One range per matching character, the text between as it is.
template <class Is>
void split_by_class(std::string_view text, const Is& is, std::vector<Range>& out) {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const size_t end = at + (c.bytes > 0 ? c.bytes : 1);
    if (is(c.code)) {
      if (at > done) out.push_back({done, at, false});
      out.push_back({at, end, true});
      done = end;
    }
    at = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), false});
}

void fold_forward(std::vector<Range>& ranges, bool contiguous) {
  std::vector<Range> out;
  bool previous = false;
  for (const Range& r : ranges) {
    const bool joins = contiguous ? r.match == previous : r.match && !previous;
    if (joins && !out.empty()) {
      out.back().end = r.end;
    } else {
      out.push_back(r);
    }
    previous = r.match;
  }
  ranges.swap(out);
}

void fold_backward(std::vector<Range>& ranges) {
  std::vector<Range> out;
  bool previous = false;
  for (auto r = ranges.rbegin(); r != ranges.rend(); ++r) {
    if (r->match && !previous && !out.empty()) {
      out.back().begin = r->begin;
    } else {
      out.push_back(*r);
    }
    previous = r->match;
  }
  std::reverse(out.begin(), out.end());
  ranges.swap(out);
}

void apply(Behavior behavior, std::vector<Range>& ranges) {
  switch (behavior) {
    case Behavior::isolated:
      break;
    case Behavior::removed:
      ranges.erase(
          std::remove_if(ranges.begin(), ranges.end(), [](const Range& r) { return r.match; }),
          ranges.end());
      break;
    case Behavior::contiguous:
      fold_forward(ranges, true);
      break;
    case Behavior::merged_with_previous:
      fold_forward(ranges, false);
      break;
    case Behavior::merged_with_next:
      fold_backward(ranges);
      break;
  }
}

Piece metaspace_text(const PreStep& step, const Piece& piece, Pieces& pieces) {
  std::string text;
  const bool prefix = step.prepend == PreStep::Prepend::always ||
                      (step.prepend == PreStep::Prepend::first && piece.first);
  const bool has = piece.text.substr(0, step.replacement.size()) == step.replacement ||
                   piece.text.substr(0, 1) == " ";
  if (prefix && !has) text = step.replacement;
  for (const char c : piece.text) {
    if (c == ' ') {
      text += step.replacement;
    } else {
      text.push_back(c);
    }
  }
  pieces.owned.push_back(std::move(text));
  return {pieces.owned.back(), piece.first};
}

Piece byte_level_text(const PreStep& step, const Piece& piece, Pieces& pieces) {
  const bool prefix = step.add_prefix_space && piece.text.substr(0, 1) != " ";
  if (!prefix && !step.map_bytes) return piece;
  std::string text = prefix ? " " : "";
  text += piece.text;
  if (step.map_bytes) text = to_byte_characters(text);
  pieces.owned.push_back(std::move(text));
  return {pieces.owned.back(), piece.first};
}

void run_step(const PreStep& step, const Piece& piece, Pieces& pieces, MatchScratch& scratch,
              std::vector<Range>& ranges) {
  Piece source = piece;
  ranges.clear();
  switch (step.kind) {
    case PreStep::Kind::split:
      split_by_pattern(source.text, step.pattern, scratch, ranges);
      if (step.invert) {
        for (Range& r : ranges) r.match = !r.match;
      }
      apply(step.behavior, ranges);
      break;
    case PreStep::Kind::byte_level:
      source = byte_level_text(step, piece, pieces);
      ranges.push_back({0, source.text.size(), false});
      break;
    case PreStep::Kind::metaspace:
      source = metaspace_text(step, piece, pieces);
      if (step.split) {
        split_by_pattern(source.text, step.pattern, scratch, ranges);
        apply(Behavior::merged_with_next, ranges);
      } else {
        ranges.push_back({0, source.text.size(), false});
      }
      break;
    case PreStep::Kind::digits:
      split_by_class(source.text, is_numeric, ranges);
      if (!step.individual) apply(Behavior::contiguous, ranges);
      break;
    case PreStep::Kind::punctuation:
      split_by_class(source.text, is_punctuation, ranges);
      apply(step.behavior, ranges);
      break;
    case PreStep::Kind::white_space:
      split_by_class(source.text, is_white_space, ranges);
      apply(Behavior::removed, ranges);
      break;
    case PreStep::Kind::cut: {
      Cuts parts;
      step.cut(source.text, parts);
      for (const auto& [begin, end] : parts) ranges.push_back({begin, end, false});
      break;
    }
  }
  for (const Range& r : ranges) {
    if (r.end > r.begin) {
      pieces.next.push_back(
          {source.text.substr(r.begin, r.end - r.begin), source.first && r.begin == 0});
    }
  }
}

}  // namespace

void cut_piece(const PreStep& step, const Piece& piece, Pieces& pieces, MatchScratch& scratch) {
  std::vector<Range> ranges;
  run_step(step, piece, pieces, scratch, ranges);
}

void PreTokenizer::add_byte_level(bool add_prefix_space, bool use_regex) {
  PreStep step;
  step.kind = PreStep::Kind::byte_level;
  if (add_prefix_space) {
    step.add_prefix_space = true;
    add(step);
  }
  if (use_regex) {
    PreStep split;
    split.pattern = Pattern::regex(kGpt2Pattern, "");
    add(std::move(split));
  }
  step.add_prefix_space = false;
  step.map_bytes = true;
  add(step);
}

bool PreTokenizer::take_byte_map() {
  if (steps_.empty() || !steps_.back().map_bytes) return false;
  steps_.pop_back();
  return true;
}

Cut PreTokenizer::only_cut() const {
  if (steps_.size() != 1) return nullptr;
  const PreStep& step = steps_[0];
  const bool plain = step.kind == PreStep::Kind::split && step.behavior == Behavior::isolated;
  return plain ? step.pattern.cut() : nullptr;
}

void PreTokenizer::run(std::string_view text, bool first, Pieces& pieces,
                       MatchScratch& scratch) const {
  pieces.owned.clear();
  pieces.items.clear();
  if (text.empty()) return;
  pieces.items.push_back({text, first});
  std::vector<Range> ranges;
  for (const PreStep& step : steps_) {
    pieces.next.clear();
    for (const Piece& piece : pieces.items) run_step(step, piece, pieces, scratch, ranges);
    pieces.items.swap(pieces.next);
  }
}

}  // namespace nibble::text
