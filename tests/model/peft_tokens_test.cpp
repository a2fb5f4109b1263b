// Adapters with rows of their own against PEFT: logits, merged weights, files; growth of the
// vocabulary; several such adapters on one base.
#include "model/files/peft_tokens.h"

#include "autograd/tape.h"
#include "model/grow_rows.h"
#include "model/merge.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::golden_path;
using testing::largest_difference;
using testing::logits_of;
using testing::read_ids;
using testing::read_values;
using testing::TemporaryFolder;

struct Case {
  std::string name, folder, base;
};

std::vector<Case> cases(const std::string& peft) {
  std::vector<Case> all;
  for (const char* name : {"token-indices", "token-indices-tied", "modules-to-save"}) {
    const std::string folder = peft + "/" + name;
    const Json config = read_json(folder + "/adapter_config.json");
    all.push_back(
        {name, folder, folder + "/" + config["base_model_name_or_path"].get<std::string>()});
  }
  return all;
}

Model with_adapter(const Device& device, const std::string& base, const std::string& adapter,
                   bool trains = false, LoadOptions options = testing::in_f32()) {
  options.vocab = adapter_vocab(adapter);
  Model model = load_model(device, base, options);
  load_adapter(adapter, *model.decoder, 0, trains, device);
  return model;
}

TEST(PeftTokens, LogitsAndMergedWeightsMatchPeft) {
  NIBBLE_REQUIRE_DATA(peft, "golden/models/peft");
  const Device device = Device::cpu(2);
  for (const Case& c : cases(peft)) {
    const Model model = with_adapter(device, c.base, c.folder);
    TemporaryFolder out;
    merge(device, c.base, c.folder, out / "f32", {{}, DType::f32});
    const Model merged = load_model(device, out / "f32", testing::in_f32());
    const TensorFiles golden = TensorFiles::open(c.folder, "golden");
    for (const std::string p : {"p0", "p1"}) {
      const auto ids = read_ids(golden, p + ".input_ids");
      const auto want = read_values(golden, p + ".logits");
      EXPECT_LT(largest_difference(logits_of(device, model, ids), want), 5e-4) << c.name;
      EXPECT_LT(largest_difference(logits_of(device, merged, ids), want), 5e-4) << c.name;
    }
    const TensorFiles weights = TensorFiles::open(out / "f32");
    for (const TensorInfo& info : golden.tensors()) {
      if (!starts_with(info.name, "merged.")) continue;
      std::string name = info.name.substr(7);
      if (weights.find(name) == nullptr) name = "model.embed_tokens.weight";  // tied
      EXPECT_LT(largest_difference(read_values(weights, name), read_values(golden, info.name)),
                1e-5)
          << c.name << " " << info.name;
    }
  }
}

TEST(PeftTokens, AreWrittenAsTheyWereRead) {
  NIBBLE_REQUIRE_DATA(peft, "golden/models/peft");
  const Device device = Device::cpu(1);
  for (const Case& c : cases(peft)) {
    Model model = load_model(device, c.base, testing::in_f32());
    const AdapterConfig config = load_adapter(c.folder, *model.decoder, 0, true, device);
    TemporaryFolder out;
    save_adapter(out.path(), config, *model.decoder, 0);
    const TensorFiles a = TensorFiles::open_file(c.folder + "/adapter_model.safetensors");
    const TensorFiles b = TensorFiles::open_file(out / "adapter_model.safetensors");
    ASSERT_EQ(a.tensors().size(), b.tensors().size()) << c.name;
    for (const TensorInfo& info : a.tensors())
      EXPECT_EQ(read_values(a, info.name), read_values(b, info.name)) << info.name;
    const Json was = read_json(c.folder + "/adapter_config.json");
    const Json is = read_json(out / "adapter_config.json");
    for (const char* key : {"modules_to_save"}) EXPECT_EQ(was[key], is[key]) << c.name;
    // A map that names the embedding alone stays a map, a list a list.
    EXPECT_EQ(was["trainable_token_indices"], is["trainable_token_indices"]) << c.name;
  }
}

TEST(PeftTokens, SettingsThatMeanNothingAreRefusedByName) {
  Blueprint b;
  b.vocab = 10;
  const auto message = [&](const std::map<std::string, std::vector<int64_t>>& ids,
                           const std::vector<std::string>& modules) -> std::string {
    AdapterConfig config;
    config.token_indices = ids;
    config.modules_to_save = modules;
    try {
      (void)token_targets(config, b, b.vocab, "here");
      return "";
    } catch (const UserError& e) {
      return e.what();
    }
  };
  EXPECT_EQ(message({{"", {0, 9}}}, {}), "");
  EXPECT_EQ(message({{"embed_tokens", {1}}, {"lm_head", {2}}}, {}), "");
  EXPECT_NE(message({{"", {10}}}, {}).find("holds 10"), std::string::npos);
  EXPECT_NE(message({{"", {3, 3}}}, {}).find("3 twice"), std::string::npos);
  EXPECT_NE(message({{"wte", {3}}}, {}).find("'wte'"), std::string::npos);
  EXPECT_NE(message({}, {"norm"}).find("'norm'"), std::string::npos);
  EXPECT_NE(message({{"", {3}}}, {"embed_tokens"}).find("twice"), std::string::npos);
}

TEST(PeftTokens, ATiedHeadFollowsUnlessItHasRowsOfItsOwn) {
  Blueprint b;
  b.vocab = 10;
  b.tied = true;
  AdapterConfig config;
  config.token_indices = {{"embed_tokens", {1, 2}}, {"lm_head", {1, 2}}};
  EXPECT_TRUE(token_targets(config, b, 10, "").head_follows);
  config.token_indices["lm_head"] = {1};
  EXPECT_FALSE(token_targets(config, b, 10, "").head_follows);
  config.token_indices.erase("embed_tokens");
  EXPECT_FALSE(token_targets(config, b, 10, "").head_follows);
}

// ── growth ───────────────────────────────────────────────────────────────────────────────────────

class Grown : public ::testing::Test {
 protected:
  void SetUp() override {
    base(tied_, testing::tiny_config());
    base(untied_, testing::tiny_config(R"(,"tie_word_embeddings":false)"));
  }
  void base(const std::string& name, std::string config) {
    // The first of two equal keys must go: JSON here has each once.
    if (const size_t at = config.find(R"("tie_word_embeddings":true,)");
        config.find(R"("tie_word_embeddings":false)") != std::string::npos)
      config.erase(at, std::string(R"("tie_word_embeddings":true,)").size());
    testing::write_text(folder_ / (name + ".json"), config);
    make_model(device_, folder_ / (name + ".json"), folder_ / name, 5);
  }
  // An adapter on q_proj with rows of its own for `ids`, at random; `vocab` tokens.
  std::string adapter(const std::string& name, const std::string& base, int64_t vocab,
                      std::vector<int64_t> ids, uint64_t seed) {
    LoadOptions options = testing::in_f32();
    options.vocab = vocab;
    Model model = load_model(device_, folder_ / base, options);
    AdapterConfig config;
    config.r = 4;
    config.target_modules = {"q_proj"};
    config.token_indices[""] = ids;
    if (!model.decoder->blueprint().tied)
      config.token_indices = {{"embed_tokens", ids}, {"lm_head", ids}};
    for (Linear* linear : model.decoder->linears()) {
      if (!ends_with(linear->path(), "q_proj")) continue;
      auto pair = std::make_shared<LoraPair>();
      pair->a.value = random({4, linear->in()}, seed, linear->path() + "a");
      pair->b.value = random({linear->out(), 4}, seed, linear->path() + "b");
      linear->set_adapter(0, pair);
    }
    const Blueprint& b = model.decoder->blueprint();
    fresh_tokens(token_targets(config, b, b.vocab, name), *model.decoder, device_);
    const AdapterTokens& own = model.decoder->tokens(0);
    for (const auto& rows : {own.embedding, own.head})
      rows->rows.value = random(rows->rows.value.shape(), seed, rows->rows.name);
    std::filesystem::create_directories(folder_ / name);
    save_adapter(folder_ / name, config, *model.decoder, 0);
    return folder_ / name;
  }
  Tensor random(Shape shape, uint64_t seed, const std::string& name) {
    Tensor x = Tensor::empty(device_.memory(), shape, DType::f32, Purpose::adapter);
    for (int64_t i = 0; i < x.numel(); ++i)
      x.data<float>()[i] =
          static_cast<float>(0.3 * random_normal(RngKey{seed, rng_site(name), 0, 0}, i));
    return x;
  }
  const Device device_ = Device::cpu(2);
  const std::string tied_ = "tied", untied_ = "untied";
  TemporaryFolder folder_;
};

TEST_F(Grown, NewRowsAreTheMeanOfTheOthers) {
  LoadOptions options = testing::in_f32();
  options.vocab = 99;
  const Model model = load_model(device_, folder_ / "untied", options);
  EXPECT_EQ(model.decoder->blueprint().vocab, 99);
  EXPECT_EQ(model.decoder->blueprint().grown, 3);
  const TensorFiles files = TensorFiles::open(folder_ / "untied");
  for (const Linear* table : {&model.decoder->embedding(), &model.decoder->head()}) {
    const auto was = read_values(files, table->path() + ".weight");
    const auto is = testing::values(table->weight()->codes);
    ASSERT_EQ(is.size(), 99U * 64);
    for (size_t c = 0; c < 64; ++c) {
      double mean = 0;
      for (size_t r = 0; r < 96; ++r) mean += was[r * 64 + c] / 96;
      for (size_t r = 96; r < 99; ++r) EXPECT_NEAR(is[r * 64 + c], mean, 1e-7);
    }
    EXPECT_TRUE(std::equal(was.begin(), was.end(), is.begin()));
  }
}

TEST_F(Grown, MergesToTheSameLogitsWithTheLargerVocabulary) {
  for (const std::string& base : {tied_, untied_}) {
    const std::string path = adapter("a-" + base, base, 98, {3, 96, 97}, 1);
    EXPECT_EQ(adapter_vocab(path), 98);
    const Model unmerged = with_adapter(device_, folder_ / base, path);
    merge(device_, folder_ / base, path, folder_ / ("m-" + base), {});
    const Model merged = load_model(device_, folder_ / ("m-" + base), testing::in_f32());
    EXPECT_EQ(merged.decoder->blueprint().vocab, 98);
    const std::vector<int32_t> ids{1, 96, 7, 3, 97, 50};
    const auto a = logits_of(device_, unmerged, ids), b = logits_of(device_, merged, ids);
    EXPECT_LT(largest_difference(a, b), 1e-4) << base;
  }
}

TEST_F(Grown, AnAdapterOfAnotherBaseIsRefused) {
  const std::string path = adapter("a", tied_, 98, {96, 97}, 1);
  Model model = load_model(device_, folder_ / "tied", testing::in_f32());
  EXPECT_THROW(load_adapter(path, *model.decoder, 0, false, device_), UserError);
}

// Rows of two adapters and of the base in one batch: each has the logits it has alone, and none can
// say what it does not know.
TEST_F(Grown, AdaptersSideBySideKeepTheirOwnTokens) {
  const std::string one = adapter("one", untied_, 98, {3, 96, 97}, 1);
  const std::string two = adapter("two", untied_, 100, {5, 96, 97, 98, 99}, 2);
  const std::vector<int32_t> ids{1, 96, 7, 3, 5, 97, 50};
  const std::vector<int32_t> base_ids{1, 7, 3, 5, 50, 9, 2};
  const auto alone_one = logits_of(device_, with_adapter(device_, folder_ / "untied", one), ids);
  const auto alone_two = logits_of(device_, with_adapter(device_, folder_ / "untied", two), ids);
  const auto alone_base =
      logits_of(device_, load_model(device_, folder_ / "untied", testing::in_f32()), base_ids);

  LoadOptions options = testing::in_f32();
  options.vocab = 100;
  Model model = load_model(device_, folder_ / "untied", options);
  load_adapter(one, *model.decoder, 0, false, device_);
  load_adapter(two, *model.decoder, 1, false, device_);
  Ctx ctx(device_, DType::f32);
  Document a, b, c;
  a.ids = b.ids = ids;
  c.ids = base_ids;
  PackedBatch batch = pack(device_.memory(), {c, a, b});
  ForwardContext context{ctx};
  context.packed = &batch.segments;
  context.adapters = {{0, 7, 14}, {1, 14, 21}};
  const auto all = testing::values(model.decoder->logits(
      ctx, model.decoder->hidden(context, batch.ids).value(), context.adapters));
  const auto same = [&](const std::vector<double>& alone, size_t row, size_t vocab) {
    for (size_t r = 0; r < 7; ++r)
      for (size_t v = 0; v < 100; ++v) {
        const double got = all[(row + r) * 100 + v];
        const double want =
            v < vocab ? alone[r * vocab + v] : -std::numeric_limits<double>::infinity();
        ASSERT_EQ(got, want) << row << " " << r << " " << v;
      }
  };
  same(alone_base, 0, 96);
  same(alone_one, 7, 98);
  same(alone_two, 14, 100);
}

// The derivative of the loss by every own row, against central differences.
TEST_F(Grown, GradientsOfTheRowsAgreeWithDifferences) {
  for (const std::string& base : {tied_, untied_}) {
    const Model model =
        with_adapter(device_, folder_ / base, adapter("g-" + base, base, 98, {3, 96, 97}, 1), true);
    Document document;
    document.ids = document.labels = {1, 96, 7, 3, 97, 96, 50, 3};
    PackedBatch batch = pack(device_.memory(), {document});
    const auto loss = [&](Tape* tape) {
      Ctx ctx(device_, DType::f32, tape);
      ForwardContext context{ctx};
      context.packed = &batch.segments;
      context.adapters = {{0, 0, batch.segments.tokens}};
      const Var l =
          model.decoder->loss(context, model.decoder->hidden(context, batch.ids), batch.labels);
      if (tape != nullptr) {
        Tensor seed = Tensor::empty(device_.memory(), {1}, DType::f64, Purpose::gradient);
        *seed.data<double>() = 1;
        tape->backward(ctx, l, seed);
      }
      return *l.value().data<double>();
    };
    Tape tape;
    loss(&tape);
    const AdapterTokens& own = model.decoder->tokens(0);
    EXPECT_EQ(own.embedding == own.head, base == tied_);
    for (Parameter* p : model.decoder->parameters()) ASSERT_TRUE(p->grad.defined()) << p->name;
    for (const auto& rows : {own.embedding, own.head}) {
      float* x = rows->rows.value.data<float>();
      for (int64_t i = 0; i < rows->rows.value.numel(); i += 5) {
        const float kept = x[i];
        const float step = 4e-3F;
        x[i] = kept + step;
        const double up = loss(nullptr);
        x[i] = kept - step;
        const double down = loss(nullptr);
        x[i] = kept;
        const double want = (up - down) / (2.0 * step);
        EXPECT_NEAR(rows->rows.grad.data<float>()[i], want, 2e-2 + 2e-2 * std::abs(want))
            << rows->rows.name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace nibble
