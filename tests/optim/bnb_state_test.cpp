// States that bitsandbytes saved go on here: the stored traces, taken up in the middle.
#include "optim/bnb_state.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "quant/blockwise.h"
#include "tests/optim/subject.h"
#include "tests/support/data.h"

namespace nibble::testing {
namespace {

constexpr int64_t kTaken = 10;  // the step after which a state is taken over

Tensor tensor_of(const Ctx& ctx, const TraceTensor& t) {
  const DType dtype = t.dtype == "U8" ? DType::u8 : DType::f32;
  const Tensor made = t.shape.size() == 2 ? ctx.empty({t.shape[0], t.shape[1]}, dtype)
                                          : ctx.empty({t.size()}, dtype);
  std::memcpy(made.raw(), t.bytes.data(), t.bytes.size());
  return made;
}
Tensor map_tensor(const Ctx& ctx, const float* map) {
  const Tensor made = ctx.empty({256}, DType::f32);
  std::copy_n(map, 256, made.data<float>());
  return made;
}

struct Taken {
  const Traces& all;
  TraceCase c;
  Trace golden;
  std::string part;
  Device device = Device::cpu(1);
  Ctx ctx{device, DType::f32};
  Subject subject;

  Taken(const Traces& traces, const TraceCase& of, Trace trace, std::string which)
      : all(traces),
        c(of),
        golden(std::move(trace)),
        part(std::move(which)),
        subject(ctx, all.parts.at(part).second, all.parts.at(part).first, c.dtype, all.seed) {
    for (int64_t i = 0; i < subject.size(); ++i) {
      set_value(subject.p.value, i, at(kTaken, "p").at(i));
    }
  }
  const TraceTensor& at(int64_t t, const std::string& what) const {
    return golden.at(cat(part, ".s", t, ".", what));
  }
  // As a state_dict holds it.
  NamedTensors theirs(const std::string& mark) const {
    NamedTensors state;
    const std::string before = subject.p.name + "." + mark;
    for (const char* which : {"1", "2"}) {
      if (golden.count(cat(part, ".s", kTaken, ".state", which)) == 0) continue;
      state.emplace_back(cat(before, "state", which),
                         tensor_of(ctx, at(kTaken, cat("state", which))));
      if (golden.count(cat(part, ".s", kTaken, ".absmax", which)) == 0) continue;
      state.emplace_back(cat(before, "absmax", which),
                         tensor_of(ctx, at(kTaken, cat("absmax", which))));
      state.emplace_back(
          cat(before, "qmap", which),
          map_tensor(ctx, which[0] == '1' ? dynamic_signed_map() : dynamic_unsigned_map()));
    }
    state.emplace_back(subject.p.name + ".step", map_tensor(ctx, dynamic_signed_map()));
    return state;
  }
  std::unique_ptr<Optimizer> make(bool bnb_codec, int64_t block = 256) {
    OptimizerOptions options;
    options.rule = c.rule, options.numbers = c.numbers;
    ParameterSettings settings;
    settings.weight_decay = c.weight_decay;
    settings.state.bits = c.bits, settings.state.bnb_codec = bnb_codec;
    settings.state.block = block;
    return make_optimizer(ctx, options, settings, {&subject});
  }
  void go_on(Optimizer& optimizer) {
    for (int64_t t = kTaken + 1; t <= all.steps; ++t) {
      subject.set_gradient(t);
      optimizer.step(ctx, c.lr, t, c.gradient_scale);
    }
  }
};

class BnbState : public ::testing::Test {
 protected:
  template <class Body>
  int each(const std::string& folder, bool coded, const Body& body) {
    const Traces all = read_traces(folder);
    int count = 0;
    for (const TraceCase& c : all.cases) {
      if (c.refused || (coded && !c.own)) continue;
      const Trace golden = read_trace(cat(folder, "/", c.file, ".safetensors"));
      for (const auto& [part, sizes] : all.parts) {
        const auto state = golden.find(cat(part, ".s", kTaken, ".state1"));
        if (state == golden.end() || (state->second.dtype == "U8") != coded) continue;
        Taken taken(all, c, golden, part);
        body(taken);
        ++count;
      }
    }
    return count;
  }
};

TEST_F(BnbState, CodesGoOnAsTheyWouldHaveThere) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  const int count = each(folder, true, [](Taken& taken) {
    const auto optimizer = taken.make(true);
    optimizer->load(taken.theirs("__bnb_optimizer_quant_state__."));
    taken.go_on(*optimizer);
    const TraceTensor& want = taken.at(taken.all.steps, "state1");
    const Tensor got = optimizer->state()[0].second;
    double equal = 0, near = 0;
    for (int64_t i = 0; i < got.numel(); ++i) {
      equal += got.data<uint8_t>()[i] == want.data<uint8_t>()[i] ? 1 : 0;
      near += std::abs(taken.subject.value(i) - taken.at(taken.all.steps, "p").at(i)) <=
                      1e-5 + 1e-3 * taken.c.lr * static_cast<double>(taken.all.steps)
                  ? 1
                  : 0;
    }
    EXPECT_GE(equal, 0.98 * static_cast<double>(got.numel())) << taken.c.file;
    EXPECT_GE(near, 0.99 * static_cast<double>(got.numel())) << taken.c.file;
  });
  EXPECT_GE(count, 1);
}

TEST_F(BnbState, CodesOfSquaresBecomeCodesOfTheirRoots) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  const int count = each(folder, true, [](Taken& taken) {
    for (const int64_t block : {256, 1024}) {
      Taken fresh(taken.all, taken.c, taken.golden, taken.part);
      const auto optimizer = fresh.make(false, block);
      optimizer->load(fresh.theirs(""));
      fresh.go_on(*optimizer);
      double apart = 0, moved = 0;
      for (int64_t i = 0; i < fresh.subject.size(); ++i) {
        const double want = fresh.at(fresh.all.steps, "p").at(i);
        apart += std::abs(fresh.subject.value(i) - want);
        moved += std::abs(fresh.at(kTaken, "p").at(i) - want);
      }
      // There a bf16 parameter is rounded twice a step, here once.
      const double share = fresh.c.dtype == DType::bf16 ? 0.3 : 0.1;
      EXPECT_LE(apart, share * moved) << fresh.c.file << " " << block;
    }
  });
  EXPECT_GE(count, 1);
}

TEST_F(BnbState, Fp32StatesAreTakenAsTheyAre) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  const int count = each(folder, false, [](Taken& taken) {
    const auto optimizer = taken.make(false);
    optimizer->load(taken.theirs(""));
    const NamedTensors ours = optimizer->state();
    const std::string first = bytes_of(ours[0].second);
    EXPECT_EQ(first, taken.at(kTaken, "state1").bytes.substr(0, first.size())) << taken.c.file;
  });
  EXPECT_GE(count, 1);
}

// A state of zeros in their naming.
NamedTensors zeros(const Ctx& ctx, int64_t n) {
  NamedTensors state;
  for (const char* which : {"1", "2"}) {
    state.emplace_back(cat("layer0.weight.state", which),
                       Tensor::zeros(ctx.memory, {n}, DType::u8, Purpose::staging));
    state.emplace_back(cat("layer0.weight.absmax", which),
                       Tensor::zeros(ctx.memory, {(n + 255) / 256}, DType::f32, Purpose::staging));
    state.emplace_back(
        cat("layer0.weight.qmap", which),
        map_tensor(ctx, which[0] == '1' ? dynamic_signed_map() : dynamic_unsigned_map()));
  }
  return state;
}

TEST_F(BnbState, MistakesNameTheTensor) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Subject s(ctx, 5000, 0);
  ParameterSettings settings;
  settings.state.bits = 8;
  const auto optimizer = make_optimizer(ctx, {}, settings, {&s});
  const NamedTensors good = zeros(ctx, 5000);
  optimizer->load(good);
  NamedTensors map = good, scales = good, missing = good, stranger = good, key = good, size = good;
  map[2].second = map_tensor(ctx, linear_signed_map());
  scales[1].second = ctx.empty({10}, DType::f32);
  missing.erase(missing.begin() + 4);
  stranger.emplace_back("other.weight.state1", good[0].second);
  key.emplace_back("layer0.weight.exp_avg", good[0].second);
  size[3].second = ctx.empty({4999}, DType::u8);
  for (const auto& [bad, name] :
       {std::pair(map, "layer0.weight.qmap1"), std::pair(scales, "layer0.weight.absmax1"),
        std::pair(missing, "layer0.weight.absmax2"), std::pair(stranger, "other.weight"),
        std::pair(key, "layer0.weight.exp_avg"), std::pair(size, "layer0.weight.state2")}) {
    try {
      optimizer->load(bad);
      FAIL() << name;
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::bad_data);
      EXPECT_NE(e.message().find(name), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace nibble::testing
