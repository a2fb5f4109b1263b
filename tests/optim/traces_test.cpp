// Every stored trace of bitsandbytes and of its GPU kernels' rules, as cases.json lists them.
#include "tests/optim/traces.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/optim/subject.h"
#include "tests/support/data.h"

namespace nibble::testing {
namespace {

struct Replay {
  TraceCase c;
  std::string part;
  Trace golden;
  Device device = Device::cpu(1);
  Ctx ctx{device, DType::f32};
  Subject subject;
  std::unique_ptr<Optimizer> optimizer;

  Replay(const Traces& all, const TraceCase& of, std::string which, Trace trace, bool bnb_codec)
      : c(of),
        part(std::move(which)),
        golden(std::move(trace)),
        subject(ctx, all.parts.at(part).second, all.parts.at(part).first, c.dtype, all.seed) {
    OptimizerOptions options;
    options.rule = c.rule;
    options.numbers = c.numbers;
    ParameterSettings settings;
    settings.weight_decay = c.weight_decay;
    settings.state.bits = c.bits;
    settings.state.bnb_codec = bnb_codec;
    optimizer = make_optimizer(ctx, options, settings, {&subject});
  }
  void step(int64_t t) {
    subject.set_gradient(t);
    optimizer->step(ctx, c.lr, t, c.gradient_scale);
  }
  bool stored(int64_t t) const { return golden.count(key(t, "p")) != 0; }
  std::string key(int64_t t, const char* what) const { return cat(part, ".s", t, ".", what); }
  const TraceTensor& at(int64_t t, const char* what) const { return golden.at(key(t, what)); }
};

// Theirs are state1 and state2; AdEMAMix stacks its two means in state1, [2, n].
struct Theirs {
  const TraceTensor* values;
  int64_t begin;
};
std::vector<Theirs> states_of(const Replay& run, int64_t t) {
  const int64_t n = run.subject.size();
  const TraceTensor& first = run.at(t, "state1");
  std::vector<Theirs> all;
  for (int64_t begin = 0; begin < first.size(); begin += n) all.push_back({&first, begin});
  const auto second = run.golden.find(run.key(t, "state2"));
  if (second != run.golden.end()) all.push_back({&second->second, 0});
  return all;
}

void expect_near(const Replay& run, int64_t t) {
  const double bound = static_cast<double>(t);
  const TraceTensor& p = run.at(t, "p");
  // A bf16 value may be rounded the other way by what fp32 tolerates.
  const double rounding = run.c.dtype == DType::bf16 ? 0x1p-8 : 0;
  for (int64_t i = 0; i < run.subject.size(); ++i) {
    const double want = p.at(i);
    ASSERT_NEAR(run.subject.value(i), want,
                bound * (1e-6 + 2e-6 * std::abs(want)) + rounding * std::abs(want))
        << run.c.file << " step " << t << " element " << i;
  }
  const NamedTensors ours = run.optimizer->state();
  const std::vector<Theirs> theirs = states_of(run, t);
  ASSERT_EQ(ours.size(), theirs.size()) << run.c.file;
  for (size_t k = 0; k < theirs.size(); ++k) {
    for (int64_t i = 0; i < run.subject.size(); ++i) {
      const double want = theirs[k].values->at(theirs[k].begin + i);
      ASSERT_NEAR(ours[k].second.data<float>()[i], want,
                  bound * (1e-6 + 2e-6 * std::abs(want)) + rounding * std::abs(want))
          << run.c.file << " " << ours[k].first << " step " << t << " element " << i;
    }
  }
}

void expect_codes(const Replay& run, int64_t t) {
  const auto n = static_cast<double>(run.subject.size());
  const NamedTensors ours = run.optimizer->state();
  const std::vector<Theirs> theirs = states_of(run, t);
  ASSERT_EQ(ours.size(), 2 * theirs.size()) << run.c.file;
  for (size_t k = 0; k < theirs.size(); ++k) {
    const uint8_t* got = ours[2 * k].second.data<uint8_t>();
    const uint8_t* want = theirs[k].values->data<uint8_t>() + theirs[k].begin;
    double equal = 0;
    for (int64_t i = 0; i < run.subject.size(); ++i) {
      equal += got[i] == want[i] ? 1 : 0;
      if (t <= 5) {
        EXPECT_LE(std::abs(got[i] - want[i]), 1) << ours[2 * k].first << " step " << t;
      }
    }
    const double least = t == 1 ? 0.999 : t <= 5 ? 0.995 : 0.98;
    EXPECT_GE(equal, least * n) << run.c.file << " " << ours[2 * k].first << " step " << t;
  }
  double near = 0;
  for (int64_t i = 0; i < run.subject.size(); ++i) {
    const double bound = 1e-5 + 1e-3 * run.c.lr * static_cast<double>(t);
    near += std::abs(run.subject.value(i) - run.at(t, "p").at(i)) <= bound ? 1 : 0;
  }
  EXPECT_GE(near, 0.99 * n) << run.c.file << " step " << t;
}

class Traced : public ::testing::Test {
 protected:
  // Calls body for each part of each case that `wanted` says.
  template <class Wanted, class Body>
  int each(const Wanted& wanted, bool bnb_codec, const Body& body) {
    int parts = 0;
    for (TraceCase c : all.cases) {
      if (c.refused) continue;
      const Trace golden = read_trace(cat(directory, "/", c.file, ".safetensors"));
      for (const auto& [part, sizes] : all.parts) {
        const auto state = golden.find(part + ".s1.state1");
        if (state == golden.end() || !wanted(c, state->second.dtype == "U8")) continue;
        Replay run(all, c, part, golden, bnb_codec);
        for (int64_t t = 1; t <= all.steps; ++t) {
          run.step(t);
          if (run.stored(t)) body(run, t);
        }
        ++parts;
      }
    }
    return parts;
  }
  std::string directory;
  Traces all;
};

TEST_F(Traced, Fp32StatesFollowBitsandbytes) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  directory = folder, all = read_traces(folder);
  EXPECT_GE(each([](const TraceCase&, bool coded) { return !coded; }, false, expect_near), 1);
}

TEST_F(Traced, CodesFollowTheRulesOfTheGpuKernels) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  directory = folder, all = read_traces(folder);
  EXPECT_GE(each([](const TraceCase& c, bool) { return c.own; }, true, expect_codes), 1);
}

// The CPU library codes coarsely (quantization.md §6): its codes are not to be matched. What its
// options mean is: on the whole, parameters end where its parameters end.
TEST_F(Traced, EightBitParametersEndWhereTheCpuLibraryLeavesThem) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  directory = folder, all = read_traces(folder);
  for (TraceCase& c : all.cases) {
    if (c.bits != 8 || (c.rule != "lamb" && c.rule != "lars")) continue;
    c.rule = c.rule == "lamb" ? "adamw" : "sgd";  // what LAMB8bit and LARS8bit are there
    c.numbers.max_unorm.reset();
  }
  const int parts = each([](const TraceCase& c, bool coded) { return coded && !c.own; }, false,
                         [&](const Replay& run, int64_t t) {
                           double apart = 0, moved = 0;
                           for (int64_t i = 0; i < run.subject.size(); ++i) {
                             const double want = run.at(t, "p").at(i);
                             const double start =
                                 trace_start(all.seed, run.subject.part, static_cast<uint64_t>(i));
                             apart += std::abs(run.subject.value(i) - want);
                             moved += std::abs(start - want);
                           }
                           EXPECT_LE(apart, 0.1 * moved) << run.c.file << " step " << t;
                         });
  EXPECT_GE(parts, 1);
}

TEST_F(Traced, NumbersOfRefusedCasesAreTakenHere) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  all = read_traces(folder);
  for (const TraceCase& c : all.cases) {
    if (c.refused) Replay(all, c, "small", {}, false).step(1);
  }
}

}  // namespace
}  // namespace nibble::testing
