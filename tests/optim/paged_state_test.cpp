// Pages: the same bits as without them, within the budget, with nothing left on the disk.
#include "optim/paged_state.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "base/files.h"
#include "tests/optim/subject.h"

namespace nibble::testing {
namespace {

class Paged : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / cat("nibble-pages-", ::getpid())).string();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    set_fault("");
    std::filesystem::remove_all(folder_);
  }
  std::unique_ptr<Optimizer> make(std::vector<Subject>& all, const std::string& rule, int bits,
                                  int64_t budget) const {
    OptimizerOptions options;
    options.rule = rule;
    options.paging = {budget > 0, budget, folder_};
    ParameterSettings settings;
    settings.state.bits = bits;
    settings.weight_decay = 0.05;
    std::vector<Subject*> pointers;
    for (Subject& s : all) pointers.push_back(&s);
    return make_optimizer(ctx_, options, settings, pointers);
  }
  // Large and small, no multiples of anything.
  std::vector<Subject> subjects() const {
    std::vector<Subject> all;
    for (const int64_t n : {300001, 17, 70000, 5000, 4097}) all.emplace_back(ctx_, n, all.size());
    return all;
  }
  static void step(const Ctx& ctx, Optimizer& optimizer, std::vector<Subject>& all, int64_t t) {
    for (Subject& s : all) s.set_gradient(t);
    optimizer.step(ctx, 1e-2, t, 1);
  }
  std::string all_bytes(const std::vector<Subject>& all, const Optimizer& optimizer) const {
    std::string joined;
    for (const Subject& s : all) joined += bytes_of(s.p.value);
    for (const auto& [name, tensor] : optimizer.state()) joined += name + bytes_of(tensor);
    return joined;
  }

  Device device_ = Device::cpu(2);
  Ctx ctx_{device_, DType::f32};
  std::string folder_;
};

TEST_F(Paged, HasTheBitsOfUnpagedStatesForEveryRuleAndBudget) {
  for (const std::string& rule : Optimizer::names()) {
    for (const int bits : {32, 8}) {
      std::vector<Subject> plain = subjects();
      const auto unpaged = make(plain, rule, bits, 0);
      for (int64_t t = 1; t <= 3; ++t) step(ctx_, *unpaged, plain, t);
      const std::string want = all_bytes(plain, *unpaged);
      for (const int64_t share : {2, 10}) {
        std::vector<Subject> all = subjects();
        const auto paged = make(all, rule, bits, unpaged->bytes() / share);
        EXPECT_LT(paged->resident_bytes(), paged->bytes()) << rule << bits;
        EXPECT_EQ(paged->bytes(), unpaged->bytes());
        for (int64_t t = 1; t <= 3; ++t) step(ctx_, *paged, all, t);
        EXPECT_TRUE(all_bytes(all, *paged) == want) << rule << bits << " " << share;
      }
    }
  }
}

TEST_F(Paged, KeepsNoMoreInMemoryThanTheBudget) {
  std::vector<Subject> all = subjects();
  const int64_t before = device_.memory().live();
  for (const int64_t budget : {400000, 600000, 2000000}) {
    const auto optimizer = make(all, "adamw", 32, budget);
    EXPECT_LE(optimizer->resident_bytes(), budget);
    EXPECT_GE(optimizer->resident_bytes(), budget / 2) << "and uses it";
    EXPECT_EQ(device_.memory().live() - before, optimizer->resident_bytes());
    step(ctx_, *optimizer, all, 1);
    EXPECT_EQ(device_.memory().live() - before, optimizer->resident_bytes());
  }
}

TEST_F(Paged, MakesNoFileWhenAllFits) {
  std::vector<Subject> all = subjects();
  set_fault("open:0:EACCES");
  const auto optimizer = make(all, "adamw", 8, int64_t{1} << 30);
  step(ctx_, *optimizer, all, 1);
  EXPECT_EQ(optimizer->resident_bytes(), optimizer->bytes());
  EXPECT_THROW(make(all, "adamw", 8, 100000), UserError);
}

TEST_F(Paged, LeavesNothingInTheFolder) {
  std::vector<Subject> all = subjects();
  const auto optimizer = make(all, "adamw", 32, 500000);
  EXPECT_TRUE(list_directory(folder_).empty());
  step(ctx_, *optimizer, all, 1);
  EXPECT_TRUE(list_directory(folder_).empty());
}

TEST_F(Paged, NamesTheFolderThatCannotHoldTheFile) {
  std::vector<Subject> all = subjects();
  for (const char* fault : {"open:0:EROFS", "write:3:ENOSPC"}) {
    set_fault(fault);
    try {
      make(all, "adamw", 32, 500000);
      FAIL() << fault;
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::io);
      EXPECT_EQ(e.where().str(), folder_);
    }
  }
  set_fault("write:2:SHORT");  // a short write is no failure
  std::vector<Subject> plain = subjects();
  const auto paged = make(all, "adamw", 32, 500000), unpaged = make(plain, "adamw", 32, 0);
  step(ctx_, *paged, all, 1), step(ctx_, *unpaged, plain, 1);
  EXPECT_TRUE(all_bytes(all, *paged) == all_bytes(plain, *unpaged));
}

TEST_F(Paged, FailsTheStepWhoseWritesFailAndAllAfterIt) {
  std::vector<Subject> all = subjects();
  const auto optimizer = make(all, "adamw", 32, 500000);
  step(ctx_, *optimizer, all, 1);
  set_fault("write:4:ENOSPC");
  for (int64_t t = 2; t <= 3; ++t) {
    try {
      step(ctx_, *optimizer, all, t);
      FAIL() << t;
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::io);
      EXPECT_EQ(e.where().str(), folder_);
    }
  }
}

TEST_F(Paged, MovesStatesBetweenBudgets) {
  std::vector<Subject> all = subjects(), other = subjects();
  const auto paged = make(all, "ademamix", 8, 100000), unpaged = make(other, "ademamix", 8, 0);
  step(ctx_, *paged, all, 1);
  step(ctx_, *unpaged, other, 1);
  const auto again = make(all, "ademamix", 8, 200000);
  again->load(paged->state());
  unpaged->load(again->state());
  step(ctx_, *again, all, 2);
  step(ctx_, *unpaged, other, 2);
  EXPECT_TRUE(all_bytes(all, *again) == all_bytes(other, *unpaged));
}

TEST_F(Paged, LoadsItsOwnLiveState) {
  std::vector<Subject> all = subjects();
  const auto optimizer = make(all, "adamw", 8, 100000);
  step(ctx_, *optimizer, all, 1);
  const std::string before = all_bytes(all, *optimizer);
  optimizer->load(optimizer->state());
  EXPECT_TRUE(all_bytes(all, *optimizer) == before);
}

}  // namespace
}  // namespace nibble::testing
