// A recomputed segment gives the bits of a recorded one and keeps less.
#include "autograd/checkpoint.h"

#include <gtest/gtest.h>

#include "autograd/nn/linear.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::normal;
using testing::normals;
using testing::same_bytes;
using testing::tensor;

constexpr int64_t kTokens = 24, kWidth = 16;

struct Layer {
  Parameter norm, up, down;
};

// A residual layer: x + Wdown swiglu(Wup n, Wup n), n = dropout(rmsnorm(x)).
struct Net {
  std::vector<Layer> layers{4};
  Tensor samples, positions;

  explicit Net(const Ctx& ctx) {
    int seed = 0;
    const auto make = [&](Shape shape) {
      const std::string name = cat("p", ++seed);
      return Parameter{
          name, tensor(ctx, shape, normals(name.c_str(), shape.numel(), 0.3), ctx.acc()), {}, true};
    };
    for (Layer& l : layers)
      l = {make({kWidth}), make({2 * kWidth, kWidth}), make({kWidth, 2 * kWidth})};
    samples = ctx.empty({kTokens}, DType::i64);
    positions = ctx.empty({kTokens}, DType::i32);
    for (int64_t t = 0; t < kTokens; ++t) {
      samples.data<int64_t>()[t] = t / 10;
      positions.data<int32_t>()[t] = static_cast<int32_t>(t % 10);
    }
  }

  Var layer(Ctx& ctx, Layer& l, const Var& x) const {
    const Var normed = ops::rmsnorm(ctx, x, Var::leaf(l.norm), 1e-6);
    const Var dropped = ops::dropout(ctx, normed, 0.2, {3, 4, 0, 5}, samples, positions);
    const Var up = ops::linear(ctx, dropped, Var::leaf(l.up));
    return ops::add(ctx, x,
                    ops::linear(ctx, ops::gated(ctx, up, up, Activation::silu), Var::leaf(l.down)));
  }
};

struct Outcome {
  std::shared_ptr<Memory> memory = std::make_shared<Memory>();  // outlives the device of the run
  Tensor y, dx;
  std::vector<Tensor> grads;
  int64_t saved = 0, peak = 0;
};

Outcome run(DType compute, bool checkpointed, bool input_wants) {
  const Device device = Device::cpu(2);
  Tape tape;
  Ctx ctx(device, compute, &tape);
  Net net(ctx);
  const Tensor start = normal(ctx, "x", {kTokens, kWidth});
  const Var input = input_wants ? Var::input(start) : Var(start);
  device.memory().reset_peak();
  Var x = input;
  for (Layer& l : net.layers) {
    const auto segment = [&net, &l](Ctx& inner, const Var& in) { return net.layer(inner, l, in); };
    x = checkpointed ? checkpoint(ctx, segment, x) : segment(ctx, x);
  }
  Outcome o;
  o.y = x.value();
  o.saved = tape.saved_bytes();
  tape.backward(ctx, x, normal(ctx, "seed", {kTokens, kWidth}));
  o.peak = device.memory().peak();
  const auto away = [&](const Tensor& t) {
    Tensor copy = Tensor::empty(*o.memory, t.shape(), t.dtype(), Purpose::activation);
    std::memcpy(copy.raw(), t.raw(), static_cast<size_t>(t.bytes()));
    return copy;
  };
  o.y = away(o.y);
  if (input_wants) o.dx = away(input.node()->grad);
  for (Layer& l : net.layers) {
    for (Parameter* p : {&l.norm, &l.up, &l.down}) o.grads.push_back(away(p->grad));
  }
  return o;
}

TEST(Checkpoint, GivesTheSameGradientBitsAsARecordedSegment) {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const bool input_wants : {true, false}) {
      const Outcome plain = run(compute, false, input_wants);
      const Outcome again = run(compute, true, input_wants);
      EXPECT_TRUE(same_bytes(plain.y, again.y));
      if (input_wants) {
        EXPECT_TRUE(same_bytes(plain.dx, again.dx));
      }
      ASSERT_EQ(plain.grads.size(), again.grads.size());
      for (size_t i = 0; i < plain.grads.size(); ++i) {
        EXPECT_TRUE(same_bytes(plain.grads[i], again.grads[i])) << name_of(compute) << " " << i;
      }
    }
  }
}

TEST(Checkpoint, KeepsOnlyTheInputsOfItsSegments) {
  const Outcome plain = run(DType::f32, false, true), again = run(DType::f32, true, true);
  EXPECT_EQ(again.saved, 4 * kTokens * kWidth * 4);
  EXPECT_LT(again.saved, plain.saved / 4);
  EXPECT_LT(again.peak, plain.peak);
}

TEST(Checkpoint, RecordsNothingWithoutATape) {
  const Device device = Device::cpu(1);
  Ctx ctx(device, DType::f32);
  int calls = 0;
  const auto segment = [&calls](Ctx& inner, const Var& in) {
    ++calls;
    EXPECT_EQ(inner.tape, nullptr);
    return ops::add(inner, in, in);
  };
  EXPECT_FALSE(checkpoint(ctx, segment, Var(normal(ctx, "x", {2, 2}))).wants_grad());
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace nibble
