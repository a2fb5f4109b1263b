// An executor that computes nothing but remembers: it keeps token ids where a model keeps keys, in
// the blocks it is given, and answers each wanted row from the history it finds there. A wrong
// block table, a lost chunk or a block given to two sequences changes its answers.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <vector>

#include "serving/executor.h"
#include "serving/request.h"

namespace nibble::testing {

using serving::Chunk;
using serving::Event;
using serving::InputBatch;
using serving::Request;
using serving::StepOutput;

constexpr int64_t kScriptVocab = 50;

// The token that follows a history.
inline int32_t scripted_next(const std::vector<int32_t>& history) {
  uint64_t h = 1469598103934665603u;
  for (const int32_t t : history) h = (h ^ static_cast<uint64_t>(t)) * 1099511628211u;
  return static_cast<int32_t>((h >> 20) % kScriptVocab);
}

inline std::vector<int32_t> scripted_output(std::vector<int32_t> history, int64_t tokens) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < tokens; ++i) {
    out.push_back(scripted_next(history));
    history.push_back(out.back());
  }
  return out;
}

class ScriptedExecutor : public serving::Executor {
 public:
  ScriptedExecutor(int64_t blocks, int64_t block_tokens)
      : block_tokens_(block_tokens), cache_(static_cast<size_t>((blocks + 1) * block_tokens), -1) {}

  StepOutput run(const InputBatch& batch) override {
    for (const Chunk& c : batch.chunks) write(c);
    StepOutput out;
    if (batch.wanted() == 0) return out;
    out.logits =
        Tensor::zeros(memory_, {batch.wanted(), kScriptVocab}, DType::f32, Purpose::logits);
    float* row = out.logits.data<float>();
    for (const Chunk& c : batch.chunks) {
      const int64_t end = c.start + static_cast<int64_t>(c.tokens.size());
      for (int64_t p = end - c.wanted; p < end; ++p, row += kScriptVocab)
        row[scripted_next(history(c, p + 1))] = 9;
    }
    return out;
  }

  std::vector<serving::RowScore> score(const StepOutput& output,
                                       std::span<const int32_t> labels) override {
    std::vector<serving::RowScore> scores;
    for (size_t r = 0; r < labels.size(); ++r) {
      const float* row = output.logits.data<float>() + r * kScriptVocab;
      double sum = 0;
      for (int64_t c = 0; c < kScriptVocab; ++c) sum += std::exp(static_cast<double>(row[c]));
      const double lse = std::log(sum);
      scores.push_back({labels[r] < 0 ? 0.f : static_cast<float>(lse - row[labels[r]]),
                        static_cast<float>(lse)});
    }
    return scores;
  }

 private:
  size_t slot(const Chunk& c, int64_t position) const {
    const int32_t block = c.blocks.at(static_cast<size_t>(position / block_tokens_));
    EXPECT_GT(block, 0) << "the null block is no one's";
    return static_cast<size_t>(block * block_tokens_ + position % block_tokens_);
  }
  void write(const Chunk& c) {
    for (size_t i = 0; i < c.tokens.size(); ++i)
      cache_.at(slot(c, c.start + static_cast<int64_t>(i))) = c.tokens[i];
  }
  std::vector<int32_t> history(const Chunk& c, int64_t tokens) const {
    std::vector<int32_t> out;
    for (int64_t p = 0; p < tokens; ++p) out.push_back(cache_.at(slot(c, p)));
    return out;
  }

  int64_t block_tokens_;
  std::vector<int32_t> cache_;
  Memory memory_;
};

// What a request was told.
struct Told {
  std::vector<int32_t> tokens;
  std::vector<serving::TokenLogprob> logprobs, prompt_logprobs;
  std::string text, stop_reason, error;
  serving::FinishReason finish = serving::FinishReason::none;
  int64_t prompt_tokens = 0, completion_tokens = 0;
  int ends = 0, events = 0;

  void hear(Event&& e) {
    EXPECT_EQ(ends, 0) << "an event after the last one";
    ++events;
    tokens.insert(tokens.end(), e.tokens.begin(), e.tokens.end());
    for (auto& l : e.logprobs) logprobs.push_back(std::move(l));
    if (!e.prompt_logprobs.empty()) {
      EXPECT_EQ(events, 1) << "prompt logprobs come with the first event";
      prompt_logprobs = std::move(e.prompt_logprobs);
    }
    text += e.text;
    prompt_tokens = e.prompt_tokens;
    completion_tokens = e.completion_tokens;
    if (e.finish == serving::FinishReason::none) return;
    ++ends;
    finish = e.finish;
    stop_reason = e.stop_reason;
    error = e.error;
  }
};

}  // namespace nibble::testing
