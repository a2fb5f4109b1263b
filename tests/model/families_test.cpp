// Every family against float64 transformers: logits, hidden states, both spellings, refusals.
#include <set>

#include "model/decoder.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::largest_difference;
using testing::read_ids;
using testing::read_values;

// Directories that other issues' families fill.
const std::set<std::string> kRefused = {"mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "gpt-oss"};

std::vector<std::string> directories(const std::string& root, bool refused) {
  std::vector<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (!exists(entry.path().string() + "/golden.safetensors") || name == "bert") continue;
    if ((kRefused.count(name) != 0) == refused) all.push_back(entry.path().string());
  }
  std::sort(all.begin(), all.end());
  return all;
}

double largest(const std::vector<double>& x) {
  double most = 0;
  for (double v : x) most = std::max(most, std::abs(v));
  return most;
}

void expect_states(const Device& device, const std::string& directory) {
  const Model model = load_model(device, directory, testing::in_f32());
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  for (const std::string p : {"p0", "p1"}) {
    Ctx ctx(device, DType::f32);
    Document document;
    document.ids = read_ids(golden, p + ".input_ids");
    PackedBatch batch = pack(device.memory(), {document});
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    const auto tap = [&](const std::string& name, const Tensor& x) {
      if (golden.find(p + "." + name) == nullptr) return;
      const auto want = read_values(golden, p + "." + name);
      EXPECT_LT(largest_difference(testing::values(x), want), 1e-4 * largest(want))
          << directory << " " << p << "." << name;
    };
    const Var hidden = model.decoder->hidden(context, batch.ids, Checkpointing::off, tap);
    const auto logits = testing::values(model.decoder->logits(ctx, hidden.value()));
    EXPECT_LT(largest_difference(logits, read_values(golden, p + ".logits")), 2e-4)
        << directory << " " << p << " " << device.kernels().name;
  }
}

TEST(Families, LogitsAndHiddenStatesMatchFloat64TransformersOnEveryTier) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  for (CpuTier tier : testing::tiers()) {
    const Device device = Device::cpu(2, tier);
    for (const std::string& directory : directories(families, false))
      expect_states(device, directory);
  }
}

TEST(Families, OldSpellingsGiveTheSameBits) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  const Device device = Device::cpu(2);
  int pairs = 0;
  for (const std::string& old : directories(families, false)) {
    if (!ends_with(old, "-v4")) continue;
    const std::string now = old.substr(0, old.size() - 3);
    const auto ids = read_ids(TensorFiles::open(old, "golden"), "p1.input_ids");
    const Model a = load_model(device, old, testing::in_f32());
    const Model b = load_model(device, now, testing::in_f32());
    EXPECT_EQ(testing::logits_of(device, a, ids), testing::logits_of(device, b, ids)) << old;
    ++pairs;
  }
  EXPECT_GT(pairs, 0);
}

TEST(Families, ExpertsAreRefusedByNameWithTheNearestFamily) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  const Device device = Device::cpu(1);
  for (const std::string& directory : directories(families, true)) {
    try {
      (void)load_model(device, directory, testing::in_f32());
      ADD_FAILURE() << directory;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find("model_type"), std::string::npos) << e.what();
      EXPECT_FALSE(e.hint().empty());
      EXPECT_EQ(e.code(), Exit::bad_data);
    }
  }
}

TEST(Families, InBf16TheLossIsCloseToFloat64) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  const Device device = Device::cpu(2);
  for (const std::string& directory : directories(families, false)) {
    LoadOptions options;
    options.compute = DType::bf16;
    const Model model = load_model(device, directory, options);
    const TensorFiles golden = TensorFiles::open(directory, "golden");
    Document document;
    document.ids = document.labels = read_ids(golden, "p1.input_ids");
    PackedBatch batch = pack(device.memory(), {document});
    Ctx ctx(device, DType::bf16);
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    const Var hidden = model.decoder->hidden(context, batch.ids);
    const double loss = *model.decoder->loss(context, hidden, batch.labels).value().data<double>();
    double nll = 0;
    for (double v : read_values(golden, "p1.nll")) nll += v;
    const auto n = static_cast<double>(document.ids.size() - 1);
    EXPECT_NEAR(loss / n, nll / n, 0.02) << directory;
  }
}

// f16 has 11 digits where bf16 has 8: logits stay within 1 % of the largest, Gemma 2 with its
// capped scores being the farthest.
TEST(Families, InF16LogitsAndLossAreCloseToFloat64OnEveryTier) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  LoadOptions options;
  options.compute = DType::f16;
  for (const CpuTier tier : testing::tiers()) {
    const Device device = Device::cpu(2, tier);
    for (const std::string& directory : directories(families, false)) {
      const Model model = load_model(device, directory, options);
      const TensorFiles golden = TensorFiles::open(directory, "golden");
      Document document;
      document.ids = document.labels = read_ids(golden, "p1.input_ids");
      PackedBatch batch = pack(device.memory(), {document});
      Ctx ctx(device, DType::f16);
      ForwardContext context{ctx};
      context.packed = &batch.segments;
      const Var hidden = model.decoder->hidden(context, batch.ids);
      ASSERT_EQ(hidden.value().dtype(), DType::f16);
      const auto logits = testing::values(model.decoder->logits(ctx, hidden.value()));
      const auto want = read_values(golden, "p1.logits");
      EXPECT_LT(largest_difference(logits, want), 1e-2 * largest(want))
          << directory << " " << name_of(tier);
      const double loss =
          *model.decoder->loss(context, hidden, batch.labels).value().data<double>();
      double nll = 0;
      for (double v : read_values(golden, "p1.nll")) nll += v;
      const auto n = static_cast<double>(document.ids.size() - 1);
      EXPECT_NEAR(loss / n, nll / n, 2e-3) << directory << " " << name_of(tier);
    }
  }
}

TEST(Families, BertGivesTheEncodersStatesAndPooledVector) {
  NIBBLE_REQUIRE_DATA(families, "golden/models/families");
  const std::string directory = families + "/bert";
  const Device device = Device::cpu(2);
  LoadOptions options = testing::in_f32();
  EXPECT_THROW((void)load_model(device, directory, options), UserError);
  options.encoder = true;
  const Model model = load_model(device, directory, options);
  const TensorFiles golden = TensorFiles::open(directory, "golden");
  const auto ids = read_ids(golden, "input_ids"), mask = read_ids(golden, "attention_mask"),
             types = read_ids(golden, "token_type_ids");
  const auto states = read_values(golden, "last_hidden_state"),
             pooler = read_values(golden, "pooler_output");
  const size_t rows = 3, width = ids.size() / rows, hidden = pooler.size() / rows;
  // All rows in one batch: documents do not see each other.
  std::vector<Document> documents(rows);
  for (size_t r = 0; r < rows; ++r)
    for (size_t t = 0; t < width; ++t) {
      if (mask[r * width + t] == 0) continue;
      documents[r].ids.push_back(ids[r * width + t]);
      documents[r].token_types.push_back(types[r * width + t]);
    }
  PackedBatch batch = pack(device.memory(), documents);
  Ctx ctx(device, DType::f32);
  ForwardContext context{ctx};
  context.packed = &batch.segments;
  const Tensor out = model.decoder->hidden(context, batch.ids).value();
  const auto got = testing::values(out);
  double worst = 0;
  int64_t row = 0;
  for (size_t r = 0; r < rows; ++r) {
    const auto pooled = testing::values(model.decoder->pooled(ctx, out.row_range(row, row + 1)));
    for (size_t c = 0; c < hidden; ++c) EXPECT_NEAR(pooled[c], pooler[r * hidden + c], 2e-4);
    for (size_t t = 0; t < documents[r].ids.size(); ++t, ++row)
      for (size_t c = 0; c < hidden; ++c)
        worst = std::max(worst, std::abs(got[static_cast<size_t>(row) * hidden + c] -
                                         states[(r * width + t) * hidden + c]));
  }
  EXPECT_LT(worst, 2e-4);
}

}  // namespace
}  // namespace nibble
