#include "serving/scheduler.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

#include "base/errors.h"
#include "tests/serving/scripted_executor.h"

namespace nibble::serving {
namespace {

using ::nibble::testing::scripted_next;
using ::nibble::testing::scripted_output;
using ::nibble::testing::ScriptedExecutor;
using ::nibble::testing::Told;
using ::testing::ElementsAre;

// A scheduler, its scripted executor and what each request was told.
struct Bench {
  explicit Bench(SchedulerOptions o)
      : options(o), executor(o.blocks, o.block_tokens), scheduler(scored(o)) {}

  SchedulerOptions scored(SchedulerOptions o) {
    o.score = [this](const StepOutput& output, std::span<const int32_t> labels) {
      return executor.score(output, labels);
    };
    return o;
  }

  Request request(uint64_t id, std::vector<int32_t> prompt, int64_t tokens) {
    Request r;
    r.id = id;
    r.prompt = std::move(prompt);
    r.sampling.temperature = 0;
    r.sampling.max_tokens = tokens;
    r.on_event = [this, id](Event&& e) { told[id].hear(std::move(e)); };
    return r;
  }
  Admit add(uint64_t id, int64_t prompt, int64_t tokens) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < prompt; ++i)
      ids.push_back(static_cast<int32_t>((id * 7 + static_cast<uint64_t>(i) * 3) % 50));
    prompts[id] = ids;
    return scheduler.submit(request(id, std::move(ids), tokens));
  }
  // One step; false when there was nothing to do.
  bool step() {
    last = scheduler.next();
    if (last.empty()) return false;
    EXPECT_LE(last.tokens(), options.max_batch_tokens) << "the budget of a step";
    scheduler.complete(executor.run(last));
    return true;
  }
  void finish() {
    for (int i = 0; i < 100000; ++i)
      if (!step()) return;
    FAIL() << "never ends";
  }
  std::vector<uint64_t> last_ids() const {
    std::vector<uint64_t> ids;
    for (const Chunk& c : last.chunks) ids.push_back(c.request);
    return ids;
  }

  SchedulerOptions options;
  ScriptedExecutor executor;
  Scheduler scheduler;
  std::map<uint64_t, Told> told;
  std::map<uint64_t, std::vector<int32_t>> prompts;
  InputBatch last;
};

SchedulerOptions small() {
  SchedulerOptions o;
  o.blocks = 64;
  o.block_tokens = 4;
  o.max_context = 200;
  o.max_batch_tokens = 16;
  o.max_sequences = 8;
  return o;
}

TEST(Scheduler, ChunksALongPromptAndDrawsOnlyFromItsEnd) {
  Bench b(small());
  b.add(1, 40, 3);
  for (const int64_t tokens : {16, 16, 8, 1, 1}) {
    ASSERT_TRUE(b.step());
    EXPECT_EQ(b.last.tokens(), tokens);
    EXPECT_EQ(b.last.wanted(), tokens == 16 ? 0 : 1);
  }
  EXPECT_FALSE(b.step());
  EXPECT_EQ(b.told[1].tokens, scripted_output(b.prompts[1], 3));
  EXPECT_EQ(b.told[1].finish, FinishReason::length);
  EXPECT_EQ(b.told[1].prompt_tokens, 40);
  EXPECT_EQ(b.told[1].completion_tokens, 3);
  EXPECT_EQ(b.scheduler.stats().blocks_used, 0);
}

TEST(Scheduler, ServesFirstComeFirstServedAndLeavesATokenForEveryoneRunning) {
  Bench b(small());
  b.add(1, 2, 9);
  b.add(2, 30, 2);
  b.add(3, 2, 2);
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(1, 2));  // 2 + 14 tokens: the budget is spent
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(1, 2));
  EXPECT_EQ(b.last.chunks[1].tokens.size(), 15u);
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(1, 2, 3));
  b.finish();
  EXPECT_EQ(b.scheduler.stats().finished_length, 3);
}

TEST(Scheduler, DoesNotLetALongPromptStallThoseWhoDecode) {
  Bench b(small());
  b.add(1, 60, 2);
  b.step();
  b.add(2, 1, 5);
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(1));  // the budget was spent before 2 was looked at
  b.step();
  b.step();
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(1, 2));
  b.add(3, 60, 1);
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(2, 3));
  b.finish();
}

TEST(Scheduler, AdmitsOnlyWhoseWholePromptFits) {
  SchedulerOptions o = small();
  o.blocks = 10;
  Bench b(o);
  b.add(1, 12, 4);  // 3 blocks, grows to 4
  b.add(2, 28, 1);  // 7 blocks: 7 are free, but one stays for who grows
  b.add(3, 1, 1);   // would fit, but is not next
  b.step();
  EXPECT_THAT(b.last_ids(), ElementsAre(1));
  EXPECT_EQ(b.scheduler.stats().waiting, 2);
  b.finish();
  EXPECT_EQ(b.scheduler.stats().preemptions, 0);
  EXPECT_EQ(b.scheduler.stats().finished_length, 3);
}

TEST(Scheduler, PreemptsTheOneAdmittedLastAndBringsItBackWithTheSameAnswer) {
  SchedulerOptions o = small();
  o.blocks = 8;
  Bench b(o);
  b.add(1, 8, 20);  // 2 blocks, ends with 7
  b.add(2, 8, 12);
  b.add(3, 4, 12);
  b.finish();
  EXPECT_GE(b.scheduler.stats().preemptions, 2);
  for (const auto& [id, tokens] : std::map<uint64_t, int64_t>{{1, 20}, {2, 12}, {3, 12}}) {
    EXPECT_EQ(b.told[id].tokens, scripted_output(b.prompts[id], tokens)) << id;
    EXPECT_EQ(b.told[id].events, tokens) << "nothing is told twice";
  }
  EXPECT_EQ(b.scheduler.stats().generation_tokens, 44);
  EXPECT_EQ(b.scheduler.stats().prompt_tokens, 20);
  EXPECT_EQ(b.scheduler.stats().blocks_used, 0);
}

TEST(Scheduler, PreemptsInOrderLastFirstAndResumesOldestFirst) {
  SchedulerOptions o = small();
  o.blocks = 9;
  Bench b(o);
  for (uint64_t id : {1, 2, 3}) b.add(id, 7, 16);  // 2 blocks each; all grow in the same step
  std::vector<uint64_t> gone;
  std::vector<uint64_t> before{1, 2, 3};
  b.step();
  while (b.step()) {
    const auto now = b.last_ids();
    for (const uint64_t id : before)
      if (std::find(now.begin(), now.end(), id) == now.end() && b.told[id].ends == 0)
        gone.push_back(id);
    before = now;
  }
  ASSERT_FALSE(gone.empty());
  EXPECT_EQ(gone.front(), 3u);
  for (uint64_t id : {1, 2, 3}) EXPECT_EQ(b.told[id].tokens, scripted_output(b.prompts[id], 16));
  EXPECT_TRUE(std::count(gone.begin(), gone.end(), 1u) == 0) << "the oldest is never sent away";
}

TEST(Scheduler, FailsWhatCanNeverFitInsteadOfSpinning) {
  SchedulerOptions o = small();
  o.blocks = 4;
  Bench b(o);
  b.add(1, 17, 4);  // 5 blocks
  b.add(2, 13, 9);  // 4 blocks, then a fifth
  b.add(3, 4, 2);
  b.finish();
  EXPECT_EQ(b.told[1].finish, FinishReason::failed);
  EXPECT_THAT(b.told[1].error, ::testing::HasSubstr("needs 5 KV blocks of 4 tokens, there are 4"));
  EXPECT_EQ(b.told[2].finish, FinishReason::failed);
  EXPECT_EQ(b.told[2].tokens, scripted_output(b.prompts[2], 4));
  EXPECT_EQ(b.told[3].finish, FinishReason::length);
  EXPECT_EQ(b.scheduler.stats().blocks_used, 0);
}

TEST(Scheduler, CancelsInEveryStateAndFreesTheBlocks) {
  SchedulerOptions o = small();
  o.blocks = 6;
  for (int when = 0; when < 5; ++when) {
    Bench b(o);
    b.add(1, 8, 30);
    b.add(9, 12, 4);
    const auto expect_gone = [&](uint64_t id) {
      EXPECT_EQ(b.told[id].finish, FinishReason::cancelled) << when;
      EXPECT_EQ(b.told[id].ends, 1) << when;
    };
    if (when == 0) b.scheduler.cancel(9);  // queued
    if (when == 1) {                       // prefilling
      b.add(2, 1, 1);
      b.scheduler.cancel(9);
      b.scheduler.cancel(2);
      b.add(10, 12, 1);
      b.step();
      ASSERT_EQ(b.scheduler.stats().running, 2);
      ASSERT_EQ(b.last.chunks[1].tokens.size(), 8u);
      b.scheduler.cancel(10);
    }
    if (when == 2) {  // decoding, and with a step in flight
      b.step();
      const InputBatch batch = b.scheduler.next();
      const int64_t used = b.scheduler.stats().blocks_used;
      b.scheduler.cancel(1);
      EXPECT_EQ(b.scheduler.stats().blocks_used, used) << "the batch in flight keeps its blocks";
      EXPECT_EQ(b.told[1].ends, 0);
      b.scheduler.complete(b.executor.run(batch));
      expect_gone(1);
      b.scheduler.cancel(9);
    }
    if (when == 3) {  // preempted
      while (b.scheduler.stats().preemptions == 0) ASSERT_TRUE(b.step());
      b.scheduler.cancel(9);
    }
    if (when == 4) {  // finished, and never heard of
      b.finish();
      b.scheduler.cancel(9);
      b.scheduler.cancel(12345);
      EXPECT_EQ(b.told[9].finish, FinishReason::length);
      continue;
    }
    expect_gone(9);
    b.scheduler.cancel_all();
    EXPECT_TRUE(b.scheduler.idle());
    EXPECT_EQ(b.scheduler.stats().blocks_used, 0);
    EXPECT_EQ(b.scheduler.queued_requests(), 0);
    EXPECT_EQ(b.scheduler.queued_tokens(), 0);
  }
}

TEST(Scheduler, AnswersWhatItWillNotQueue) {
  SchedulerOptions o = small();
  o.max_queued_requests = 3;
  o.max_queued_tokens = 20;
  Bench b(o);
  EXPECT_EQ(b.add(1, 200, 1), Admit::too_long);
  EXPECT_EQ(b.add(2, 199, 1), Admit::accepted);  // the queue is empty: any that fits the context
  EXPECT_EQ(b.add(3, 1, 1), Admit::queue_full);
  b.step();
  EXPECT_EQ(b.add(4, 10, 1), Admit::accepted);
  EXPECT_EQ(b.add(5, 11, 1), Admit::queue_full);
  EXPECT_EQ(b.add(6, 5, 1), Admit::accepted);
  EXPECT_EQ(b.add(7, 5, 1), Admit::accepted);
  EXPECT_EQ(b.add(8, 1, 1), Admit::queue_full);
  b.finish();
  EXPECT_EQ(b.scheduler.stats().rejected, 4);
  EXPECT_EQ(b.scheduler.stats().finished_length, 4);
}

TEST(Scheduler, ChecksLengthBeforeTheEndTokenAndTheEndTokenBeforeStopIds) {
  SchedulerOptions o = small();
  const std::vector<int32_t> prompt{3, 1, 4};
  const std::vector<int32_t> out = scripted_output(prompt, 6);
  o.eos = {out[2]};
  const auto run = [&](const std::function<void(Request&)>& change) {
    Bench b(o);
    Request r = b.request(1, prompt, 6);
    change(r);
    EXPECT_EQ(b.scheduler.submit(std::move(r)), Admit::accepted);
    b.finish();
    return b.told[1];
  };
  const auto index = static_cast<int64_t>(std::find(out.begin(), out.end(), out[2]) - out.begin());
  ASSERT_EQ(index, 2) << "the script must not repeat itself here";
  Told t = run([](Request&) {});
  EXPECT_EQ(t.finish, FinishReason::stop);
  EXPECT_EQ(t.tokens.size(), 3u);
  EXPECT_EQ(t.stop_reason, "");
  t = run([](Request& r) { r.sampling.max_tokens = 3; });
  EXPECT_EQ(t.finish, FinishReason::length);
  t = run([](Request& r) { r.sampling.ignore_eos = true; });
  EXPECT_EQ(t.finish, FinishReason::length);
  EXPECT_EQ(t.tokens, out);
  t = run([&](Request& r) { r.sampling.stop_token_ids = {out[2], out[1]}; });
  EXPECT_EQ(t.finish, FinishReason::stop);
  EXPECT_EQ(t.stop_reason, std::to_string(out[1]));
  EXPECT_EQ(t.tokens.size(), 2u);
  t = run([&](Request& r) { r.sampling.stop_token_ids = {out[2]}; });
  EXPECT_EQ(t.stop_reason, "") << "the end token comes first";
  t = run([](Request& r) { r.sampling.min_tokens = 5; });
  EXPECT_EQ(t.tokens.size() >= 5, true);
  for (size_t i = 0; i < 5; ++i) EXPECT_NE(t.tokens[i], out[2]) << "masked until min_tokens";
}

TEST(Scheduler, EndsAtTheContextsEnd) {
  SchedulerOptions o = small();
  o.max_context = 12;
  Bench b(o);
  b.add(1, 9, 100);
  b.finish();
  EXPECT_EQ(b.told[1].tokens.size(), 3u);
  EXPECT_EQ(b.told[1].finish, FinishReason::length);
}

TEST(Scheduler, ScoresThePromptOnceInChunksOfBoundedLogits) {
  SchedulerOptions o = small();
  o.max_scored_rows = 3;
  o.blocks = 8;
  Bench b(o);
  b.add(1, 5, 14);  // pushes the other out when it grows
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 14; ++i) prompt.push_back(i * 5 % 50);
  Request r = b.request(2, prompt, 5);
  r.sampling.prompt_logprobs = true;
  r.sampling.logprobs = 2;
  b.scheduler.submit(std::move(r));
  while (b.step()) EXPECT_LE(b.last.wanted(), 3 + 2);
  const Told& t = b.told[2];
  EXPECT_EQ(t.tokens, scripted_output(prompt, 5));
  ASSERT_EQ(t.prompt_logprobs.size(), prompt.size());
  ASSERT_EQ(t.logprobs.size(), 5u);
  for (size_t i = 1; i < prompt.size(); ++i) {
    const std::vector<int32_t> before(prompt.begin(), prompt.begin() + static_cast<long>(i));
    EXPECT_EQ(t.prompt_logprobs[i].token, prompt[i]);
    ASSERT_EQ(t.prompt_logprobs[i].top.size(), 2u);
    EXPECT_EQ(t.prompt_logprobs[i].top[0].first, scripted_next(before)) << i;
  }
  Request only = b.request(3, prompt, 0);
  only.sampling.prompt_logprobs = true;
  b.scheduler.submit(std::move(only));
  b.finish();
  EXPECT_EQ(b.told[3].prompt_logprobs.size(), prompt.size());
  EXPECT_EQ(b.told[3].tokens.size(), 0u);
  EXPECT_EQ(b.told[3].finish, FinishReason::length);
}

TEST(Scheduler, FailsOnlyTheRequestWhoseLogitsAreNotNumbers) {
  Bench b(small());
  b.add(1, 3, 4);
  b.add(2, 3, 4);
  const InputBatch batch = b.scheduler.next();
  const StepOutput output = b.executor.run(batch);
  output.logits.data<float>()[5] = std::nanf("");
  b.scheduler.complete(output);
  b.finish();
  EXPECT_EQ(b.told[1].finish, FinishReason::failed);
  EXPECT_THAT(b.told[1].error, ::testing::HasSubstr("no number"));
  EXPECT_EQ(b.told[2].tokens, scripted_output(b.prompts[2], 4));
}

TEST(Scheduler, CancelsARequestWhoseReaderThrows) {
  Bench b(small());
  Request r = b.request(1, {1, 2}, 8);
  r.on_event = [](Event&&) { throw std::runtime_error("gone"); };
  b.scheduler.submit(std::move(r));
  b.add(2, 2, 4);
  b.finish();
  EXPECT_EQ(b.scheduler.stats().cancelled, 1);
  EXPECT_EQ(b.told[2].finish, FinishReason::length);
  EXPECT_EQ(b.scheduler.stats().blocks_used, 0);
}

TEST(Scheduler, GivesRequestsWithoutASeedDifferentOnesAndRepeatsThem) {
  const auto run = [](uint64_t seed) {
    SchedulerOptions o = small();
    o.seed = seed;
    Bench b(o);
    for (uint64_t id : {1, 2}) {
      Request r = b.request(id, {5, 6}, 12);
      r.sampling.temperature = 50;  // flat enough that the seed decides
      b.scheduler.submit(std::move(r));
    }
    b.finish();
    return std::make_pair(b.told[1].tokens, b.told[2].tokens);
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
  EXPECT_NE(run(1).first, run(1).second);
}

TEST(SchedulerSoak, AnswersTwoThousandRequestsExactlyAndLeaksNothing) {
  SchedulerOptions o = small();
  o.blocks = 40;
  o.max_queued_requests = 20;
  o.max_context = 120;
  Bench b(o);
  std::mt19937 random(3);
  const auto below = [&](int n) {
    return static_cast<int64_t>(random() % static_cast<unsigned>(n));
  };
  std::map<uint64_t, int64_t> lengths;
  std::set<uint64_t> cancelled;
  uint64_t id = 0;
  while (id < 2000 || !b.scheduler.idle()) {
    while (id < 2000 && below(3) != 0) {
      const int64_t prompt = 1 + below(below(10) == 0 ? 100 : 12), tokens = 1 + below(20);
      if (b.add(++id, prompt, tokens) != Admit::accepted) break;  // the queue is full: work first
      lengths[id] = std::min(tokens, o.max_context - prompt);
    }
    const InputBatch batch = b.scheduler.next();
    if (below(4) == 0 && id > 0) {  // with a step in flight or without
      const uint64_t victim =
          1 + id - static_cast<uint64_t>(below(static_cast<int>(std::min<uint64_t>(id, 30))) + 1);
      cancelled.insert(victim);
      b.scheduler.cancel(victim);
    }
    const EngineStats s = b.scheduler.stats();
    ASSERT_LE(s.running, o.max_sequences);
    if (batch.empty()) continue;
    ASSERT_LE(batch.tokens(), o.max_batch_tokens);
    b.scheduler.complete(b.executor.run(batch));
  }
  const EngineStats s = b.scheduler.stats();
  EXPECT_EQ(s.blocks_used, 0);
  EXPECT_EQ(s.accepted, static_cast<int64_t>(lengths.size()));
  EXPECT_EQ(s.accepted + s.rejected, 2000);
  EXPECT_EQ(s.accepted, s.finished_length + s.finished_stop + s.cancelled + s.failed);
  EXPECT_EQ(s.failed, 0);
  EXPECT_GT(s.preemptions, 20);
  EXPECT_GT(s.cancelled, 50);
  EXPECT_GT(s.finished_length, 500);
  for (const auto& [request, tokens] : lengths) {
    const Told& t = b.told[request];
    ASSERT_EQ(t.ends, 1);
    if (t.finish == FinishReason::cancelled) {
      ASSERT_EQ(cancelled.count(request), 1u);
      continue;
    }
    ASSERT_EQ(t.finish, FinishReason::length);
    ASSERT_EQ(t.tokens, scripted_output(b.prompts[request], tokens)) << request;
  }
}

}  // namespace
}  // namespace nibble::serving
