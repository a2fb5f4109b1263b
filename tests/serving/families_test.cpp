// Every family through the engine: the same bits whole and in chunks, and the tokens that float64
// transformers chooses.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "model/files/safetensors.h"
#include "tests/serving/engine_runs.h"
#include "tests/serving/small_model.h"
#include "tests/support/data.h"
#include "tests/support/family_configs.h"

namespace nibble::serving {
namespace {

using nibble::testing::run_all;
using nibble::testing::ScratchFolder;
using nibble::testing::Told;

std::shared_ptr<Model> random_model(const Device& device, const nibble::testing::FamilyConfig& c,
                                    DType compute) {
  const ScratchFolder folder;
  const std::string config = (folder.path / "config.json").string();
  std::ofstream(config) << nibble::testing::family_config(c);
  make_model(device, config, (folder.path / "m").string(), 5);
  LoadOptions options;
  options.compute = compute;
  return std::make_shared<Model>(load_model(device, (folder.path / "m").string(), options));
}

class ServedFamily : public ::testing::TestWithParam<nibble::testing::FamilyConfig> {};

// Chunks of a paged prefill against the packed forward of training, bit for bit.
TEST_P(ServedFamily, PagedChunksAreThePackedForward) {
  const Device device = Device::cpu(2);
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    const auto model = random_model(device, GetParam(), compute);
    Document document;
    for (int i = 0; i < 80; ++i) document.ids.push_back((i * i + 5) % 61);
    const PackedBatch packed = pack(device.memory(), {document});
    Ctx ctx(device, compute);
    ForwardContext context{ctx};
    context.packed = &packed.segments;
    const Tensor expected =
        model->decoder->logits(ctx, model->decoder->hidden(context, packed.ids).value());
    LocalExecutor executor(device, model, 8, 16);
    int64_t start = 0;
    for (const int64_t tokens : {1, 33, 30, 16}) {
      Chunk chunk;
      chunk.start = start;
      chunk.prompt = chunk.known = 80;
      chunk.tokens.assign(document.ids.begin() + start, document.ids.begin() + start + tokens);
      chunk.blocks = {7, 3, 1, 5, 2};
      chunk.wanted = tokens;
      const StepOutput output = executor.run({{chunk}});
      EXPECT_EQ(std::memcmp(output.logits.raw(), expected.data<float>() + start * 61,
                            static_cast<size_t>(tokens * 61 * 4)),
                0)
          << name_of(compute) << ", rows " << start << " to " << start + tokens;
      start += tokens;
    }
  }
}

// One request, alone and squeezed: little budget, few blocks, others beside it.
TEST_P(ServedFamily, AnswersDoNotDependOnCompanyOrPreemption) {
  const Device device = Device::cpu(2);
  const auto model = random_model(device, GetParam(), DType::f32);
  const auto requests = [](int from, int to) {
    std::vector<Request> all;
    for (int id = from; id < to; ++id) {
      Request r;
      r.id = static_cast<uint64_t>(id);
      for (int i = 0; i < 12 + 9 * id; ++i) r.prompt.push_back((3 + id * 11 + i * i) % 61);
      r.sampling.max_tokens = 30;
      r.sampling.ignore_eos = true;
      r.sampling.temperature = 0;
      r.sampling.logprobs = 0;
      all.push_back(std::move(r));
    }
    return all;
  };
  EngineOptions options;
  options.max_sequences = 4;
  options.max_context = 96;
  std::map<uint64_t, Told> alone;
  for (int id = 0; id < 4; ++id) alone.merge(run_all(device, model, options, requests(id, id + 1)));
  EngineOptions tight = options;
  tight.max_batch_tokens = 16;
  tight.kv_bytes = 9 * kv_block_bytes(model->decoder->blueprint(), DType::f32, 16);
  EngineStats stats;
  const auto together = run_all(device, model, tight, requests(0, 4), &stats);
  EXPECT_GT(stats.preemptions, 0);
  for (const auto& [id, told] : alone) {
    EXPECT_EQ(told.tokens, together.at(id).tokens) << id;
    ASSERT_EQ(told.logprobs.size(), together.at(id).logprobs.size());
    for (size_t i = 0; i < told.logprobs.size(); ++i)
      EXPECT_EQ(told.logprobs[i].logprob, together.at(id).logprobs[i].logprob) << id << " " << i;
  }
}

std::vector<nibble::testing::FamilyConfig> decoders() {
  auto all = nibble::testing::family_configs();
  all.erase(
      std::remove_if(all.begin(), all.end(), [](const auto& c) { return c.model_type == "bert"; }),
      all.end());
  return all;
}

INSTANTIATE_TEST_SUITE_P(Each, ServedFamily, ::testing::ValuesIn(decoders()), [](const auto& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
});

std::vector<double> golden_values(const TensorFiles& files, const std::string& name) {
  Memory memory;
  const Tensor t = files.read(name, memory, Purpose::staging);
  std::vector<double> out;
  for (int64_t i = 0; i < t.numel(); ++i)
    out.push_back(t.dtype() == DType::i32 ? t.data<int32_t>()[i]
                                          : static_cast<double>(t.data<float>()[i]));
  return out;
}

void expect_greedy(const Device& device, const std::string& directory, DType compute) {
  LoadOptions load;
  load.compute = compute;
  const auto model = std::make_shared<Model>(load_model(device, directory, load));
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  for (const std::string p : {"p0", "p1"}) {
    // Cached decoding is what a server does; where it differs the vectors have both.
    const bool cached = golden.find(p + ".greedy_cached") != nullptr;
    const auto want = golden_values(golden, p + (cached ? ".greedy_cached" : ".greedy"));
    const auto margin = golden_values(golden, p + ".margin");
    Request r;
    for (double id : golden_values(golden, p + ".input_ids"))
      r.prompt.push_back(static_cast<int32_t>(id));
    r.sampling.max_tokens = static_cast<int64_t>(want.size());
    r.sampling.ignore_eos = true;
    r.sampling.temperature = 0;
    EngineOptions options;
    options.max_batch_tokens = 16;
    options.max_sequences = 2;
    std::vector<Request> requests;
    requests.push_back(std::move(r));
    const auto told = run_all(device, model, options, std::move(requests));
    const auto& tokens = told.at(0).tokens;
    for (size_t i = 0; i < want.size(); ++i) {
      if (margin[i] <= (compute == DType::f32 ? 1e-3 : 0.3)) break;
      ASSERT_LT(i, tokens.size()) << directory << " " << p;
      EXPECT_EQ(tokens[i], static_cast<int32_t>(want[i])) << directory << " " << p << " " << i;
      if (tokens[i] != static_cast<int32_t>(want[i])) break;
    }
  }
}

TEST(ServedGoldens, GreedyTokensAreThoseOfFloat64Transformers) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  const Device device = Device::cpu(2);
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(families)) {
    const std::string directory = entry.path().string();
    if (!exists(directory + "/golden.safetensors")) continue;
    const Json config = read_json(directory + "/config.json");
    const std::string type = config.value("model_type", std::string());
    const auto known = supported_families();
    if (type == "bert" || std::find(known.begin(), known.end(), type) == known.end()) continue;
    for (const DType compute : {DType::f32, DType::bf16, DType::f16})
      expect_greedy(device, directory, compute);
    ++seen;
  }
  EXPECT_GT(seen, 30);
}

}  // namespace
}  // namespace nibble::serving
