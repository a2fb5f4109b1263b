#include "model/decoder.h"

#include "autograd/tape.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::golden_path;
using testing::largest_difference;
using testing::read_ids;
using testing::read_values;

void expect_golden_logits(const std::string& directory, CpuTier tier) {
  const Device device = Device::cpu(2, tier);
  const Model model = load_model(device, directory, testing::in_f32());
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  for (const std::string p : {"p0", "p1"}) {
    const auto logits = testing::logits_of(device, model, read_ids(golden, p + ".input_ids"));
    EXPECT_LT(largest_difference(logits, read_values(golden, p + ".logits")), 2e-4)
        << directory << " " << p << " " << name_of(tier);
  }
}

TEST(Decoder, LogitsMatchFloat64TransformersOnEveryTier) {
  for (CpuTier tier : testing::tiers())
    expect_golden_logits(golden_path("models/llama-tied"), tier);
}

void expect_f16_logits(const std::string& directory) {
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  LoadOptions options;
  options.compute = DType::f16;
  for (const CpuTier tier : testing::tiers()) {
    const Device device = Device::cpu(2, tier);
    const Model model = load_model(device, directory, options);
    for (const std::string p : {"p0", "p1"}) {
      const auto want = read_values(golden, p + ".logits");
      double largest = 0;
      for (double v : want) largest = std::max(largest, std::abs(v));
      const auto logits = testing::logits_of(device, model, read_ids(golden, p + ".input_ids"));
      EXPECT_LT(largest_difference(logits, want), 5e-3 * largest)
          << directory << " " << p << " " << name_of(tier);
    }
  }
}

TEST(Decoder, InF16LogitsAreWithin5In1000OfTheLargestOnEveryTier) {
  expect_f16_logits(golden_path("models/llama-tied"));
}

TEST(Decoder, InF16TheOtherLlamasAreAsNear) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  for (const char* name : {"llama", "llama-bias-sharded", "qwen2", "qwen2-v4"})
    expect_f16_logits(families + "/" + name);
}

// Activations and their gradients in f16, masters and their gradients in f32, a loss scale taken
// out again at the end: every tensor's gradient is the one of f32 up to the digits f16 has not.
TEST(Decoder, GradientsInF16AreThoseOfF32OnEveryTier) {
  Document document;
  for (int i = 0; i < 40; ++i) document.ids.push_back((i * i + 7) % 90);
  document.labels = document.ids;
  const auto gradients = [&](const Device& device, DType compute, double loss_scale) {
    LoadOptions options;
    options.compute = compute;
    options.train_all = true;
    const Model model = load_model(device, golden_path("models/llama-tied"), options);
    PackedBatch batch = pack(device.memory(), {document});
    Tape tape;
    Ctx ctx(device, compute, &tape);
    ctx.loss_scale = loss_scale;
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    const Var loss = model.decoder->loss(
        context, model.decoder->hidden(context, batch.ids, Checkpointing::every_layer),
        batch.labels);
    const Tensor one = Tensor::empty(device.memory(), {1}, DType::f64, Purpose::gradient);
    *one.data<double>() = 1;
    tape.backward(ctx, loss, one);
    std::vector<std::pair<std::string, std::vector<double>>> all;
    for (const Parameter* p : model.decoder->parameters()) {
      EXPECT_EQ(p->grad.dtype(), DType::f32) << p->name;
      auto values = testing::values(p->grad);
      for (double& v : values) v /= loss_scale;
      all.emplace_back(p->name, std::move(values));
    }
    return all;
  };
  for (const CpuTier tier : testing::tiers()) {
    const Device device = Device::cpu(2, tier);
    const auto want = gradients(device, DType::f32, 1);
    const auto got = gradients(device, DType::f16, 512);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_LT(testing::relative_norm(got[i].second, want[i].second), 1e-2)
          << want[i].first << " " << name_of(tier);
  }
}

TEST(Decoder, LogitsMatchForTheOtherLlamas) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  for (const char* name : {"llama", "llama-bias-sharded", "qwen2", "qwen2-v4"})
    for (CpuTier tier : testing::tiers()) expect_golden_logits(families + "/" + name, tier);
}

TEST(Decoder, HiddenStatesAndNllMatch) {
  const std::string directory = golden_path("models/llama-tied");
  const Device device = Device::cpu(2);
  const Model model = load_model(device, directory, testing::in_f32());
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  const std::vector<int32_t> ids = read_ids(golden, "p0.input_ids");
  Ctx ctx(device, DType::f32);
  Document document;
  document.ids = document.labels = ids;
  PackedBatch batch = pack(device.memory(), {document});
  ForwardContext context{ctx};
  context.packed = &batch.segments;
  Var hidden = model.decoder->hidden(context, batch.ids);
  const auto head_input = read_values(golden, "p0.head_input");
  double largest = 0;
  for (double v : head_input) largest = std::max(largest, std::abs(v));
  EXPECT_LT(largest_difference(testing::values(hidden.value()), head_input), 1e-4 * largest);
  double nll = 0;
  for (double v : read_values(golden, "p0.nll")) nll += v;
  const double loss = *model.decoder->loss(context, hidden, batch.labels).value().data<double>();
  EXPECT_NEAR(loss / static_cast<double>(ids.size() - 1), nll / static_cast<double>(ids.size() - 1),
              1e-5);
}

TEST(Decoder, DocumentsInABatchAreAsIfAlone) {
  const std::string directory = golden_path("models/llama-tied");
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  const auto a = read_ids(golden, "p0.input_ids"), b = read_ids(golden, "p1.input_ids");
  for (int threads : {1, 3}) {
    const Device device = Device::cpu(threads);
    const Model model = load_model(device, directory, testing::in_f32());
    const auto alone_a = testing::logits_of(device, model, a),
               alone_b = testing::logits_of(device, model, b);
    Document da, db;
    da.ids = a;
    db.ids = b;
    Ctx ctx(device, DType::f32);
    PackedBatch batch = pack(device.memory(), {db, da});
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    auto together = testing::values(
        model.decoder->logits(ctx, model.decoder->hidden(context, batch.ids).value()));
    std::vector<double> alone = alone_b;
    alone.insert(alone.end(), alone_a.begin(), alone_a.end());
    EXPECT_EQ(together, alone) << threads << " threads";
  }
}

TEST(Decoder, AFourBitDirectoryComputesFromItsOwnBytes) {
  const std::string nf4 = golden_path("models/base-llama-nf4");
  NIBBLE_REQUIRE_DATA(plain, "golden/models/training/base-llama-nf4-dequantized");
  const Device device = Device::cpu(2);
  const Model coded = load_model(device, nf4, testing::in_f32());
  const Model decoded = load_model(device, plain, testing::in_f32());
  EXPECT_TRUE(coded.prequantized);
  ASSERT_TRUE(coded.quant.has_value());
  EXPECT_TRUE(coded.quant->double_quant);
  const std::vector<int32_t> ids{1, 5, 9, 33, 77, 120, 4, 8, 2};
  EXPECT_EQ(testing::logits_of(device, coded, ids), testing::logits_of(device, decoded, ids));
}

TEST(Decoder, PanelsGiveTheBitsOfFlatWeights) {
  // 64 and 128 inputs: panels fit; the same codes in flat order must give the same logits.
  testing::TemporaryFolder folder;
  testing::write_text(folder / "config.json", testing::tiny_config(R"(,"head_dim":32)"));
  const Device device = Device::cpu(2);
  make_model(device, folder / "config.json", folder / "model", 7);
  LoadOptions options = testing::in_f32();
  options.quant = QuantSpec{};
  Model model = load_model(device, folder / "model", options);
  const std::vector<int32_t> ids{1, 5, 9, 33, 77, 4, 8, 2};
  const auto panel = testing::logits_of(device, model, ids);
  int panels = 0;
  for (Linear* linear : model.decoder->linears()) {
    if (linear->weight()->layout != Layout::panel) continue;
    ++panels;
    *linear = Linear(linear->path(), std::make_shared<Weight>(to_flat(device, *linear->weight())));
  }
  EXPECT_GT(panels, 0);
  EXPECT_EQ(testing::logits_of(device, model, ids), panel);
}

}  // namespace
}  // namespace nibble
