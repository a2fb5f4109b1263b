#include "serving/engine.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/errors.h"
#include "tests/serving/engine_runs.h"
#include "tests/serving/small_model.h"
#include "tests/support/data.h"

namespace nibble::serving {
namespace {

using nibble::testing::Audience;
using nibble::testing::run_all;
using nibble::testing::small_model;
using nibble::testing::Told;
using ::testing::HasSubstr;

Request request(uint64_t id, std::vector<int32_t> prompt, int64_t tokens) {
  Request r;
  r.id = id;
  r.prompt = std::move(prompt);
  r.sampling.temperature = 0;
  r.sampling.max_tokens = tokens;
  r.sampling.ignore_eos = true;
  return r;
}

TEST(Engine, ContinuesTheGoldenPromptsOfARealModel) {
  NIBBLE_REQUIRE_DATA(path, "data/models/stories260K/golden/greedy_and_logits.json");
  const auto golden = nlohmann::json::parse(std::ifstream(path));
  const std::string directory = nibble::testing::data_path("data/models/stories260K/hf");
  const Device device = Device::cpu();
  LoadOptions load;
  load.compute = DType::f32;
  const auto model = std::make_shared<Model>(load_model(device, directory, load));
  const std::shared_ptr<Tokenizer> tokenizer = Tokenizer::load(directory);
  std::vector<Request> requests;
  for (size_t i = 0; i < golden.size(); ++i) {
    const auto ids = golden[i].at("prompt_ids").get<std::vector<int32_t>>();
    const auto tokens = static_cast<int64_t>(golden[i].at("greedy_ids").size());
    EXPECT_EQ(tokenizer->encode(golden[i].at("prompt").get<std::string>()), ids);
    requests.push_back(request(i, ids, tokens));
    Request stops = request(100 + i, ids, tokens);
    stops.sampling.stop = {"the park", "nowhere in it"};
    requests.push_back(std::move(stops));
  }
  const auto told = run_all(device, model, {}, std::move(requests), nullptr, tokenizer);
  for (size_t i = 0; i < golden.size(); ++i) {
    const auto ids = golden[i].at("greedy_ids").get<std::vector<int32_t>>();
    const Told& t = told.at(i);
    EXPECT_EQ(t.tokens, ids);
    EXPECT_EQ(std::string(trim(t.text)), golden[i].at("greedy_text").get<std::string>());
    const std::string whole = t.text;
    const Told& stopped = told.at(100 + i);
    const size_t at = whole.find("the park");
    EXPECT_EQ(stopped.text, whole.substr(0, at));
    if (at != std::string::npos) {
      EXPECT_EQ(stopped.finish, FinishReason::stop);
      EXPECT_EQ(stopped.stop_reason, "the park");
      EXPECT_LT(stopped.tokens.size(), ids.size());
    }
  }
}

TEST(Engine, RefusesACacheThatCannotHoldOneRequestAndAContextTheModelLacks) {
  const Device device = Device::cpu(1);
  const auto model = small_model(device, DType::f32);
  EngineOptions options;
  options.kv_bytes = 3 * 2 * 2 * 16 * 32 * 4;  // two blocks and the null block
  try {
    Engine engine(device, model, nullptr, options);
    FAIL();
  } catch (const OutOfMemory& e) {
    EXPECT_THAT(e.what(), HasSubstr("has 32 tokens"));
  }
  options.max_context = 32;
  EXPECT_EQ(Engine(device, model, nullptr, options).max_context(), 32);
  options.max_context = 161;
  EXPECT_THROW(Engine(device, model, nullptr, options), UserError);
}

TEST(Engine, TakesItsCacheBeforeTheConstructorReturns) {
  const Device device = Device::cpu(1);
  const auto model = small_model(device, DType::bf16);
  EngineOptions options;
  options.max_sequences = 3;
  Engine engine(device, model, nullptr, options);
  EXPECT_EQ(engine.kv_bytes(),
            31 * 2 * 2 * 16 * 32 * 2);  // 3 contexts of 10 blocks, the null block
  EXPECT_EQ(device.memory().live(Purpose::kv), engine.kv_bytes());
  EXPECT_EQ(engine.stats().blocks_total, 30);
}

TEST(Engine, AnswersAtOnceWhatItWillNotDo) {
  const Device device = Device::cpu(1);
  const auto model = small_model(device, DType::f32);
  EngineOptions options;
  options.max_queued_requests = 2;
  Engine engine(device, model, nullptr, options);
  Audience audience;
  const auto submit = [&](uint64_t id, std::vector<int32_t> prompt) {
    Request r = request(id, std::move(prompt), 3);
    r.on_event = audience.seat(id);
    return engine.submit(std::move(r));
  };
  EXPECT_EQ(submit(1, std::vector<int32_t>(160, 5)), Admit::too_long);
  EXPECT_EQ(submit(2, std::vector<int32_t>(159, 5)), Admit::accepted);
  EXPECT_EQ(submit(3, {5}), Admit::accepted);
  EXPECT_EQ(submit(4, {5}), Admit::queue_full);
  EXPECT_THROW(submit(5, {97}), Bug);
  EXPECT_THROW(submit(6, {}), Bug);
  engine.start();
  engine.drain();
  EXPECT_EQ(submit(7, {5}), Admit::draining);
  const auto told = audience.told();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told.at(2).tokens.size(), 1u) << "one token is left in the context";
  EXPECT_EQ(told.at(3).tokens.size(), 3u);
  EXPECT_EQ(engine.stats().rejected, 3);
}

TEST(Engine, FailsTheOwnerOfASecondRequestWithTheSameId) {
  const Device device = Device::cpu(1);
  const auto model = small_model(device, DType::f32);
  Engine engine(device, model, nullptr, {});
  Audience first, second;
  for (Audience* a : {&first, &second}) {
    Request r = request(1, {4, 5}, 6);
    r.on_event = a->seat(1);
    EXPECT_EQ(engine.submit(std::move(r)), Admit::accepted);
  }
  engine.start();
  engine.drain();
  EXPECT_TRUE(engine.healthy());
  EXPECT_EQ(first.told().at(1).finish, FinishReason::length);
  EXPECT_EQ(second.told().at(1).finish, FinishReason::failed);
}

TEST(Engine, CancelsWhatRunsAndStopsWithWorkLeft) {
  const Device device = Device::cpu(1);
  const auto model = small_model(device, DType::f32);
  EngineOptions options;
  options.max_sequences = 1;
  Engine engine(device, model, nullptr, options);
  Audience audience;
  for (uint64_t id : {1, 2, 3}) {
    Request r = request(id, {4, 5}, 150);
    r.on_event = audience.seat(id);
    engine.submit(std::move(r));
  }
  engine.start();
  audience.wait_for_events(1, 2);
  engine.cancel(1);
  audience.wait_for_events(2, 1);
  engine.stop();
  const auto told = audience.told();
  EXPECT_EQ(told.at(1).finish, FinishReason::cancelled);
  EXPECT_LT(told.at(1).tokens.size(), 150u);
  for (uint64_t id : {1, 2, 3}) EXPECT_EQ(told.at(id).ends, 1);
  EXPECT_EQ(told.at(3).finish, FinishReason::cancelled);
  EXPECT_EQ(engine.stats().blocks_used, 0);
  engine.stop();
}

TEST(Engine, TellsQueuedRequestsWhenItStopsWithoutHavingStarted) {
  const Device device = Device::cpu(1);
  Audience audience;
  {
    Engine engine(device, small_model(device, DType::f32), nullptr, {});
    Request r = request(1, {4, 5}, 150);
    r.on_event = audience.seat(1);
    engine.submit(std::move(r));
    engine.drain();  // nothing runs, so there is nothing to wait for
  }
  EXPECT_EQ(audience.told().at(1).finish, FinishReason::cancelled);
}

// Clients on several threads submit, cancel and read while the engine runs; every accepted request
// ends once, finished ones with the ids it gets alone.
TEST(EngineSoak, ServesManyThreadsAtOnce) {
  const Device device = Device::cpu(2);
  const auto model = small_model(device, DType::f32);
  std::map<int, std::vector<int32_t>> alone;
  for (int kind = 0; kind < 5; ++kind) {
    std::vector<Request> one;
    one.push_back(request(0, {kind, 7, 20 + kind}, 12));
    alone[kind] = run_all(device, model, {}, std::move(one)).at(0).tokens;
  }
  EngineOptions options;
  options.kv_bytes = 12 * 2 * 2 * 16 * 32 * 4;
  options.max_queued_requests = 12;
  options.max_batch_tokens = 24;
  Engine engine(device, model, nullptr, options);
  engine.start();
  Audience audience;
  std::atomic<int> accepted{0}, refused{0};
  std::vector<std::thread> clients;
  for (uint64_t client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(static_cast<unsigned>(client));
      for (uint64_t i = 0; i < 40; ++i) {
        const uint64_t id = client * 1000 + i;
        const int kind = static_cast<int>(id % 5);
        Request r = request(id, {kind, 7, 20 + kind}, 12);
        r.on_event = audience.seat(id);
        engine.submit(std::move(r)) == Admit::accepted ? ++accepted : ++refused;
        if (random() % 5 == 0) engine.cancel(id);
        if (random() % 3 == 0) {
          const EngineStats s = engine.stats();
          EXPECT_LE(s.blocks_used, s.blocks_total);
        }
        if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
  }
  for (std::thread& c : clients) c.join();
  engine.drain();
  const EngineStats s = engine.stats();
  EXPECT_EQ(s.accepted, accepted);
  EXPECT_EQ(s.rejected, refused);
  EXPECT_EQ(s.accepted, s.finished_stop + s.finished_length + s.cancelled + s.failed);
  EXPECT_EQ(s.failed, 0);
  EXPECT_EQ(s.blocks_used, 0);
  const auto told = audience.told();
  EXPECT_EQ(told.size(), static_cast<size_t>(accepted));
  for (const auto& [id, t] : told) {
    EXPECT_EQ(t.ends, 1);
    if (t.finish == FinishReason::length) {
      EXPECT_EQ(t.tokens, alone.at(static_cast<int>(id % 5)));
    }
  }
}

}  // namespace
}  // namespace nibble::serving
