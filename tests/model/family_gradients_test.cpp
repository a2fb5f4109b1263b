// Gradients of a whole one-layer model of every family against central differences in fp64: every
// weight, norm and bias, and the factors of an adapter on every projection.
#include <set>

#include "autograd/tape.h"
#include "base/random.h"
#include "model/decoder.h"
#include "tests/support/family_configs.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

// Random fp64 masters for everything a decoder asks for.
class RandomSource : public LinearSource {
 public:
  explicit RandomSource(const Device& device) : device_(device) {}
  Linear linear(const std::string& path, int64_t out, int64_t in, Split split, bool bias) override {
    Linear made(path, draw(path + ".weight", {out, in}, 0.3, 0), split);
    if (bias) made.set_bias(draw(path + ".bias", {out}, 0.3, 0), true);
    return made;
  }
  std::shared_ptr<Parameter> vector(const std::string& name, Shape shape) override {
    return draw(name, shape, 0.2, ends_with(name, ".bias") ? 0 : 1);
  }
  Linear embedding(const std::string& path, int64_t rows, int64_t hidden, bool bias) override {
    Linear made(path, draw(path + ".weight", {rows, hidden}, 0.4, 0));
    if (bias) made.set_bias(draw(path + ".bias", {rows}, 0.3, 0), true);
    return made;
  }
  bool has(const std::string&) const override { return false; }
  Memory& memory() override { return device_.memory(); }
  bool trains() const override { return true; }

  std::shared_ptr<Parameter> draw(const std::string& name, Shape shape, double spread,
                                  double middle) {
    auto p = std::make_shared<Parameter>();
    p->name = name;
    p->value = Tensor::empty(device_.memory(), shape, DType::f64, Purpose::weights);
    const RngKey key{11, rng_site(name), 0, 0};
    for (int64_t i = 0; i < p->value.numel(); ++i)
      p->value.data<double>()[i] = middle + spread * random_normal(key, static_cast<uint64_t>(i));
    return p;
  }

 private:
  const Device& device_;
};

class FamilyGradients : public ::testing::TestWithParam<testing::FamilyConfig> {
 protected:
  FamilyGradients() : device_(Device::cpu(1, CpuTier::scalar)) {
    const std::string text = testing::family_config(GetParam(), 1);
    RandomSource source(device_);
    decoder_ = std::make_unique<Decoder>(
        read_blueprint(parse_json(text, GetParam().name), GetParam().name), source);
    for (Linear* linear : decoder_->linears()) {
      auto pair = std::make_shared<LoraPair>();
      pair->a = *source.draw(linear->path() + ".lora_A", {2, linear->in()}, 0.3, 0);
      pair->b = *source.draw(linear->path() + ".lora_B", {linear->out(), 2}, 0.3, 0);
      pair->scale = 0.7;
      pair->trains = true;
      linear->set_adapter(0, pair);
      adapters_.push_back(std::move(pair));
    }
    // Two documents; the second longer than what the scaled variants were trained for.
    Document a, b;
    for (int i = 0; i < 7; ++i) a.ids.push_back((i * 5 + 3) % 61);
    for (int i = 0; i < 27; ++i) b.ids.push_back((i * i + 1) % 61);
    a.labels = a.ids;
    b.labels = b.ids;
    batch_ = pack(device_.memory(), {a, b});
  }

  // A scalar of the model's output: its loss, or for an encoder a fixed mix of its states.
  double value(Tape* tape) {
    Ctx ctx(device_, DType::f64, tape);
    ForwardContext context{ctx};
    context.packed = &batch_.segments;
    context.adapters = {{0, 0, batch_.segments.tokens}};
    const Var hidden = decoder_->hidden(context, batch_.ids);
    if (!decoder_->blueprint().encoder) {
      const Var loss = decoder_->loss(context, hidden, batch_.labels);
      if (tape != nullptr) {
        Tensor one = Tensor::empty(device_.memory(), {1}, DType::f64, Purpose::gradient);
        *one.data<double>() = 1;
        tape->backward(ctx, loss, one);
      }
      return *loss.value().data<double>();
    }
    Tensor mix =
        Tensor::empty(device_.memory(), hidden.value().shape(), DType::f64, Purpose::gradient);
    double sum = 0;
    for (int64_t i = 0; i < mix.numel(); ++i) {
      mix.data<double>()[i] =
          random_normal(RngKey{5, rng_site("mix"), 0, 0}, static_cast<uint64_t>(i));
      sum += mix.data<double>()[i] * hidden.value().data<double>()[i];
    }
    if (tape != nullptr) tape->backward(ctx, hidden, mix);
    return sum;
  }

  void expect_gradient(Parameter& p) {
    ASSERT_TRUE(p.grad.defined()) << p.name;
    const int64_t n = p.value.numel();
    for (int64_t k = 0; k < std::min<int64_t>(n, 3); ++k) {
      const int64_t i = (k * 7919 + 13) % n;
      double& x = p.value.data<double>()[i];
      const double kept = x, h = 1e-5;
      x = kept + h;
      const double above = value(nullptr);
      x = kept - h;
      const double below = value(nullptr);
      x = kept;
      const double slope = (above - below) / (2 * h);
      EXPECT_NEAR(p.grad.data<double>()[i], slope, 1e-6 * std::max(1.0, std::abs(slope)))
          << p.name << "[" << i << "]";
    }
  }

  Device device_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<std::shared_ptr<LoraPair>> adapters_;
  PackedBatch batch_;
};

TEST_P(FamilyGradients, AreTheSlopesOfTheLoss) {
  Tape tape;
  value(&tape);
  for (Parameter* p : decoder_->masters()) expect_gradient(*p);
  for (const auto& pair : adapters_) {
    expect_gradient(pair->a);
    expect_gradient(pair->b);
  }
}

INSTANTIATE_TEST_SUITE_P(Each, FamilyGradients, ::testing::ValuesIn(testing::family_configs()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST(FamilyTable, HasARowForEveryFamily) {
  std::set<std::string> rows;
  for (const auto& c : testing::family_configs()) rows.insert(c.model_type);
  for (const std::string& family : supported_families())
    EXPECT_EQ(rows.count(family), 1u) << family << " has no row in tests/support/family_configs.h";
}

}  // namespace
}  // namespace nibble
