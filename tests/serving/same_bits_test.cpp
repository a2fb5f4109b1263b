// A request's numbers do not depend on its company: the same tokens and the same bits of every
// logprob whatever shares its batch, however its prompt is cut, with any number of threads,
// preempted or not, with other adapters beside it.
#include <cstring>

#include "tests/serving/engine_runs.h"
#include "tests/serving/small_model.h"

namespace nibble::serving {
namespace {

using nibble::testing::run_all;
using nibble::testing::small_model;
using nibble::testing::Told;

std::vector<Request> mixed_requests() {
  std::vector<Request> requests;
  const int64_t prompts[] = {1, 5, 16, 17, 40, 63, 64, 100};
  for (uint64_t id = 0; id < 8; ++id) {
    Request r;
    r.id = id;
    for (int64_t i = 0; i < prompts[id]; ++i)
      r.prompt.push_back(static_cast<int32_t>((3 + id * 11 + static_cast<uint64_t>(i * i)) % 97));
    r.sampling.temperature = id % 2 == 0 ? 0 : 0.9;
    if (id == 3) r.sampling.top_k = 20;
    if (id == 5) r.sampling.top_p = 0.8;
    r.sampling.seed = 100 + id;
    r.sampling.max_tokens = 14 + static_cast<int64_t>(id);
    r.sampling.ignore_eos = true;
    r.sampling.logprobs = 3;
    r.sampling.prompt_logprobs = id % 3 == 0;
    r.adapter = static_cast<int>(id % 3) - 1;
    requests.push_back(std::move(r));
  }
  return requests;
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void expect_same(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token, b[i].token);
    EXPECT_TRUE(same_bits(a[i].logprob, b[i].logprob))
        << i << ": " << a[i].logprob << " " << b[i].logprob;
    ASSERT_EQ(a[i].top.size(), b[i].top.size());
    for (size_t j = 0; j < a[i].top.size(); ++j) {
      EXPECT_EQ(a[i].top[j].first, b[i].top[j].first);
      EXPECT_TRUE(same_bits(a[i].top[j].second, b[i].top[j].second));
    }
  }
}

void expect_same(const std::map<uint64_t, Told>& a, const std::map<uint64_t, Told>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [id, told] : a) {
    SCOPED_TRACE(cat("request ", id));
    const Told& other = b.at(id);
    EXPECT_EQ(told.tokens, other.tokens);
    EXPECT_EQ(told.finish, other.finish);
    expect_same(told.logprobs, other.logprobs);
    expect_same(told.prompt_logprobs, other.prompt_logprobs);
  }
}

struct Case {
  CpuTier tier;
  DType compute;
  bool quantized;
};

class SameBits : public ::testing::TestWithParam<Case> {};

TEST_P(SameBits, WhateverTheBatchTheChunksTheThreadsAndThePreemptions) {
  const Case c = GetParam();
  std::optional<QuantSpec> quant;
  if (c.quantized) quant = QuantSpec{};
  const Device one = Device::cpu(1, c.tier);
  const auto model = small_model(one, c.compute, quant);
  EngineOptions options;
  options.max_sequences = 8;

  std::map<uint64_t, Told> alone;
  for (Request& r : mixed_requests()) {
    std::vector<Request> single;
    single.push_back(std::move(r));
    alone.merge(run_all(one, model, options, std::move(single)));
  }
  for (const auto& [id, told] : alone) EXPECT_EQ(told.tokens.size(), 14 + id);

  for (const int64_t chunk : {16, 512}) {
    for (const int threads : {1, 2, 3}) {
      if (chunk == 512 && threads == 1) continue;
      SCOPED_TRACE(cat("chunk ", chunk, ", ", threads, " threads"));
      const Device device = Device::cpu(threads, c.tier);
      EngineOptions mixed = options;
      mixed.max_batch_tokens = chunk;
      EngineStats stats;
      expect_same(alone, run_all(device, model, mixed, mixed_requests(), &stats));
    }
  }
  SCOPED_TRACE("preempted");
  EngineOptions tight = options;
  tight.max_batch_tokens = 64;
  const int64_t block = 2 * 2 * 16 * 32 * size_of(c.compute);  // k|v × layers × tokens × width
  tight.kv_bytes = 16 * block;
  EngineStats stats;
  expect_same(alone, run_all(one, model, tight, mixed_requests(), &stats));
  EXPECT_GT(stats.preemptions, 0);
}

TEST_P(SameBits, OfPagedPrefillAndThePackedForwardOfTraining) {
  const Case c = GetParam();
  std::optional<QuantSpec> quant;
  if (c.quantized) quant = QuantSpec{};
  const Device device = Device::cpu(2, c.tier);
  const auto model = small_model(device, c.compute, quant);
  Document document;
  for (int i = 0; i < 150; ++i) document.ids.push_back((i * i + 5) % 97);
  for (const int adapter : {-1, 1}) {
    const PackedBatch packed = pack(device.memory(), {document});
    Ctx ctx(device, c.compute);
    ForwardContext context{ctx};
    context.packed = &packed.segments;
    if (adapter >= 0) context.adapters = {{adapter, 0, 150}};
    const Tensor expected = model->decoder->logits(
        ctx, model->decoder->hidden(context, packed.ids).value(), context.adapters);

    {
      // The cache gets memory full of NaN: a slot that nobody wrote must not be read.
      std::vector<Tensor> dirt;
      for (int i = 0; i < 16; ++i) {
        dirt.push_back(ctx.empty({12, 16, 32}, Purpose::kv));
        std::memset(dirt.back().raw(), 0xFF, static_cast<size_t>(dirt.back().bytes()));
      }
    }
    LocalExecutor executor(device, model, 12, 16);
    int64_t start = 0;
    for (const int64_t tokens : {1, 63, 30, 56}) {
      Chunk chunk;
      chunk.start = start;
      chunk.tokens.assign(document.ids.begin() + start, document.ids.begin() + start + tokens);
      chunk.blocks = {11, 3, 7, 1, 9, 2, 8, 10, 4, 6};
      chunk.adapter = adapter;
      chunk.wanted = tokens;
      const StepOutput output = executor.run({{chunk}});
      ASSERT_EQ(output.logits.rows(), tokens);
      EXPECT_EQ(std::memcmp(output.logits.raw(), expected.data<float>() + start * 97,
                            static_cast<size_t>(tokens * 97 * 4)),
                0)
          << "rows " << start << " to " << start + tokens;
      start += tokens;
    }
  }
}

// What a trainer computes for a text, token by token, is what the server says of it.
TEST_P(SameBits, OfServedLogprobsAndTheLossOfTraining) {
  const Case c = GetParam();
  const Device device = Device::cpu(2, c.tier);
  const auto model = small_model(device, c.compute);
  Document document;
  for (int i = 0; i < 60; ++i) document.ids.push_back((i * i * i + 5) % 97);
  const PackedBatch packed = pack(device.memory(), {document});
  Ctx ctx(device, c.compute);
  ForwardContext context{ctx};
  context.packed = &packed.segments;
  const Tensor logits =
      model->decoder->logits(ctx, model->decoder->hidden(context, packed.ids).value());
  std::vector<int32_t> labels(document.ids.begin() + 1, document.ids.end());
  std::vector<float> nll(59), lse(59);
  ctx.k.cross_entropy_fwd(ctx.stream, 59, 97, DType::f32, logits.raw(), 97, labels.data(),
                          nll.data(), lse.data());

  Request r;
  r.prompt = document.ids;
  r.sampling.max_tokens = 0;
  r.sampling.prompt_logprobs = true;
  EngineOptions options;
  options.max_batch_tokens = 16;
  options.max_sequences = 2;
  std::vector<Request> requests;
  requests.push_back(std::move(r));
  const auto told = run_all(device, model, options, std::move(requests));
  ASSERT_EQ(told.at(0).prompt_logprobs.size(), 60u);
  for (size_t i = 0; i < 59; ++i)
    EXPECT_TRUE(same_bits(told.at(0).prompt_logprobs[i + 1].logprob, 0.f - nll[i])) << i;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const CpuTier tier : nibble::testing::tiers()) {
    all.push_back({tier, DType::f32, false});
    all.push_back({tier, DType::bf16, true});
    all.push_back({tier, DType::f16, true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Tiers, SameBits, ::testing::ValuesIn(cases()), [](const auto& info) {
  return cat(name_of(info.param.tier), "_", name_of(info.param.compute),
             info.param.quantized ? "_nf4" : "");
});

}  // namespace
}  // namespace nibble::serving
