// Whole runs against float64 traces: losses, gradient norms, first gradients, final weights.
#include "autograd/tape.h"
#include "tests/support/model_data.h"
#include "trainer/gradient_tree.h"
#include "trainer/run.h"

namespace nibble {
namespace {

using testing::golden_path;
using testing::read_values;
using testing::TemporaryFolder;
using testing::write_text;

struct Trace {
  std::string folder, base, adapter;  // adapter: full, lora, qlora
  Json golden;
  int64_t micro = 0;
  std::vector<Json> rows;
};

// Every micro-batch of a trace as rows of type tokens; padding (attention_mask 0) is not a token.
Trace read_trace(const std::string& folder, const std::string& base, const std::string& adapter) {
  Trace t{folder, base, adapter, read_json(folder + "/golden.json"), 0, {}};
  const TensorFiles batches = TensorFiles::open_file(folder + "/batches.safetensors");
  for (int s = 0; s < t.golden["steps"].get<int>(); ++s)
    for (int m = 0; m < t.golden["gradient_accumulation_steps"].get<int>(); ++m) {
      const std::string key = cat("s", s, ".m", m, ".");
      const int64_t n = batches.get(key + "input_ids").shape[1];
      t.micro = batches.get(key + "input_ids").shape[0];
      auto list = [&](const char* name, int64_t row, int64_t count) {
        const auto all = read_values(batches, key + name);
        Json out = Json::array();
        for (int64_t i = 0; i < count; ++i)
          out.push_back(static_cast<int>(all[static_cast<size_t>(row * n + i)]));
        return out;
      };
      for (int64_t r = 0; r < t.micro; ++r) {
        int64_t count = n;
        if (batches.find(key + "attention_mask") != nullptr) {
          count = 0;
          for (const Json& v : list("attention_mask", r, n)) count += v.get<int>();
        }
        Json row = {{"input_ids", list("input_ids", r, count)},
                    {"labels", list("labels", r, count)}};
        if (batches.find(key + "document") != nullptr) {
          row["document"] = list("document", r, n);
          row["position_ids"] = list("position_ids", r, n);
        }
        t.rows.push_back(std::move(row));
      }
    }
  return t;
}

std::string recipe_of(const Trace& t, const TemporaryFolder& folder) {
  std::string data;
  for (const Json& row : t.rows) data += dump_json(row) + "\n";
  write_text(folder / "rows.jsonl", data);
  const Json& g = t.golden;
  Json recipe = {{"base_model", t.base},
                 {"adapter", t.adapter},
                 {"datasets", {{{"path", folder / "rows.jsonl"}, {"type", "tokens"}}}},
                 {"shuffle", false},
                 {"dtype", "f32"},
                 {"micro_batch_size", t.micro},
                 {"gradient_accumulation_steps", g["gradient_accumulation_steps"]},
                 {"max_steps", g["steps"]},
                 {"learning_rate", g["learning_rate"]},
                 {"lr_scheduler", g["schedule"]},
                 {"warmup_steps", g["warmup_steps"]},
                 {"weight_decay", g["weight_decay"]},
                 {"max_grad_norm", g["max_grad_norm"]},
                 {"optimizer", "adamw"},
                 {"output_dir", folder / "out"}};
  if (t.adapter != "full") recipe["lora_model_dir"] = t.folder + "/adapter-initial";
  write_text(folder / "recipe.yaml", dump_json(recipe, 2));
  return folder / "recipe.yaml";
}

void expect_trace(const Trace& t,
                  const std::vector<std::pair<std::string, std::string>>& more = {}) {
  TemporaryFolder folder;
  train(recipe_of(t, folder), more);
  size_t step = 0;
  for (const std::string& line : split(read_file(folder / "out/metrics.jsonl"), '\n')) {
    if (line.empty()) continue;
    const Json row = parse_json(line, "metrics");
    const Json& want = t.golden["float64"];
    EXPECT_NEAR(row["loss"].get<double>() / want["loss"][step].get<double>(), 1, 1e-4) << t.folder;
    EXPECT_NEAR(row["grad_norm"].get<double>() / want["grad_norm"][step].get<double>(), 1, 1e-4);
    EXPECT_NEAR(row["learning_rate"].get<double>(), want["lr"][step][0].get<double>(), 1e-15);
    EXPECT_EQ(row["tokens"], want["tokens"][step]);
    ++step;
  }
  EXPECT_EQ(step, t.golden["steps"].get<size_t>());
  const bool full = t.adapter == "full";
  const TensorFiles want = TensorFiles::open(t.folder + (full ? "/model-final" : "/adapter-final"),
                                             full ? "model" : "adapter_model");
  const TensorFiles got = TensorFiles::open(folder / "out", full ? "model" : "adapter_model");
  ASSERT_EQ(want.tensors().size(), got.tensors().size());
  for (const TensorInfo& info : want.tensors())
    EXPECT_LT(testing::relative_norm(read_values(got, info.name), read_values(want, info.name)),
              1e-3)
        << info.name;
}

TEST(TrainingTrace, LoraOnAnUnquantizedBase) {
  expect_trace(
      read_trace(golden_path("models/lora-llama"), golden_path("models/base-llama"), "lora"));
}

TEST(TrainingTrace, QloraOnTheBytesOfAFourBitBase) {
  expect_trace(
      read_trace(golden_path("models/qlora-llama"), golden_path("models/base-llama-nf4"), "qlora"));
}

TEST(TrainingTrace, CheckpointingChangesNothing) {
  expect_trace(
      read_trace(golden_path("models/lora-llama"), golden_path("models/base-llama"), "lora"),
      {{"gradient_checkpointing", "every_layer"}});
}

TEST(TrainingTrace, PackedDocumentsAndFullTraining) {
  NIBBLE_REQUIRE_DATA(training, "golden/models/training");
  expect_trace(read_trace(training + "/lora-llama-packed", training + "/base-llama", "lora"));
  expect_trace(read_trace(training + "/full-llama", training + "/base-llama", "full"));
  expect_trace(read_trace(training + "/lora-qwen2", training + "/base-qwen2", "lora"));
  expect_trace(read_trace(training + "/lora-qwen2-packed", training + "/base-qwen2", "lora"));
  expect_trace(
      read_trace(training + "/qlora-llama", training + "/base-llama-nf4-dequantized", "lora"));
}

// The gradients of the first step, before clipping, divided by its target tokens.
void expect_first_gradients(const Trace& t) {
  for (CpuTier tier : testing::tiers()) {
    const Device device = Device::cpu(2, tier);
    LoadOptions options = testing::in_f32();
    options.train_all = t.adapter == "full";
    Model model = load_model(device, t.base, options);
    if (t.adapter != "full")
      load_adapter(t.folder + "/adapter-initial", *model.decoder, 0, true, device);
    const auto parameters = model.decoder->parameters();
    const Ctx plain(device, DType::f32);
    GradientTree tree(plain);
    int64_t targets = 0;
    size_t row = 0;
    for (int m = 0; m < t.golden["gradient_accumulation_steps"].get<int>(); ++m) {
      std::vector<Document> documents;
      for (int64_t r = 0; r < t.micro; ++r, ++row) {
        Document d;
        d.ids = t.rows[row]["input_ids"].get<std::vector<int32_t>>();
        d.labels = t.rows[row]["labels"].get<std::vector<int32_t>>();
        documents.push_back(std::move(d));
      }
      PackedBatch batch = pack(device.memory(), documents);
      Tape tape;
      Ctx ctx(device, DType::f32, &tape);
      ForwardContext context{ctx};
      context.packed = &batch.segments;
      if (t.adapter != "full") context.adapters = {{0, 0, batch.segments.tokens}};
      Var loss =
          model.decoder->loss(context, model.decoder->hidden(context, batch.ids), batch.labels);
      Tensor seed = Tensor::empty(device.memory(), {1}, DType::f64, Purpose::gradient);
      *seed.data<double>() = 1;
      tape.backward(ctx, loss, seed);
      tree.add_leaf(parameters);
      targets += batch.target_tokens;
    }
    tree.finish(parameters);
    const TensorFiles golden = TensorFiles::open(t.folder, "golden");
    const std::string prefix = t.adapter == "full" ? "grad." : "grad.base_model.model.";
    for (const Parameter* p : parameters) {
      auto got = testing::values(p->grad);
      for (double& v : got) v /= static_cast<double>(targets);
      EXPECT_LT(testing::relative_norm(got, read_values(golden, prefix + p->name)), 1e-4)
          << p->name << " " << name_of(tier);
    }
  }
}

TEST(FirstGradients, LoraAndQlora) {
  expect_first_gradients(
      read_trace(golden_path("models/lora-llama"), golden_path("models/base-llama"), "lora"));
  expect_first_gradients(
      read_trace(golden_path("models/qlora-llama"), golden_path("models/base-llama-nf4"), "qlora"));
}

TEST(FirstGradients, EveryWeight) {
  NIBBLE_REQUIRE_DATA(training, "golden/models/training");
  expect_first_gradients(read_trace(training + "/full-llama", training + "/base-llama", "full"));
}

}  // namespace
}  // namespace nibble
