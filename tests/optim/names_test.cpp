// What people type, and what it means.
#include "optim/names.h"

#include <gtest/gtest.h>

#include <set>

#include "optim/optimizer.h"

namespace nibble {
namespace {

struct Typed {
  const char *typed, *rule;
  int bits;
  bool paged;
};

TEST(OptimizerNames, EverySpellingInUseMeansItsRuleWidthAndPaging) {
  for (const Typed& t : std::vector<Typed>{{"adamw_torch", "adamw", 32, false},
                                           {"adamw_torch_fused", "adamw", 32, false},
                                           {"adamw_hf", "adamw", 32, false},
                                           {"adamw_bnb_8bit", "adamw", 8, false},
                                           {"adamw_8bit", "adamw", 8, false},
                                           {"paged_adamw", "adamw", 32, true},
                                           {"paged_adamw_32bit", "adamw", 32, true},
                                           {"paged_adamw_8bit", "adamw", 8, true},
                                           {"lion", "lion", 32, false},
                                           {"lion_32bit", "lion", 32, false},
                                           {"lion_8bit", "lion", 8, false},
                                           {"paged_lion_32bit", "lion", 32, true},
                                           {"paged_lion_8bit", "lion", 8, true},
                                           {"rmsprop", "rmsprop", 32, false},
                                           {"rmsprop_bnb", "rmsprop", 32, false},
                                           {"rmsprop_bnb_8bit", "rmsprop", 8, false},
                                           {"rmsprop_bnb_32bit", "rmsprop", 32, false},
                                           {"ademamix", "ademamix", 32, false},
                                           {"ademamix_8bit", "ademamix", 8, false},
                                           {"paged_ademamix_32bit", "ademamix", 32, true},
                                           {"paged_ademamix_8bit", "ademamix", 8, true},
                                           {"sgd", "sgd", 32, false},
                                           {"adagrad", "adagrad", 32, false},
                                           {"lamb", "lamb", 32, false},
                                           {"lars_8bit", "lars", 8, false},
                                           {"paged_lars_8bit", "lars", 8, true},
                                           {"Adam", "adam", 32, false},
                                           {"Adam8bit", "adam", 8, false},
                                           {"Adam32bit", "adam", 32, false},
                                           {"PagedAdam", "adam", 32, true},
                                           {"PagedAdam8bit", "adam", 8, true},
                                           {"PagedAdam32bit", "adam", 32, true},
                                           {"AdamW", "adamw", 32, false},
                                           {"PagedAdamW8bit", "adamw", 8, true},
                                           {"Lion8bit", "lion", 8, false},
                                           {"PagedLion32bit", "lion", 32, true},
                                           {"AdEMAMix8bit", "ademamix", 8, false},
                                           {"PagedAdEMAMix32bit", "ademamix", 32, true},
                                           {"SGD8bit", "sgd", 8, false},
                                           {"RMSprop8bit", "rmsprop", 8, false},
                                           {"Adagrad8bit", "adagrad", 8, false},
                                           {"LAMB8bit", "lamb", 8, false},
                                           {"LARS32bit", "lars", 32, false},
                                           {"PytorchLARS", "lars", 32, false},
                                           {"torch.optim.AdamW", "adamw", 32, false},
                                           {"torch.optim.SGD", "sgd", 32, false},
                                           {"bitsandbytes.optim.PagedAdamW8bit", "adamw", 8, true},
                                           {"bnb.optim.Adam8bit", "adam", 8, false}}) {
    const auto name = optimizer_named(t.typed);
    ASSERT_TRUE(name.has_value()) << t.typed;
    EXPECT_EQ(name->rule, t.rule) << t.typed;
    EXPECT_EQ(name->bits, t.bits) << t.typed;
    EXPECT_EQ(name->paged, t.paged) << t.typed;
  }
}

TEST(OptimizerNames, OthersMeanNothing) {
  for (const char* typed : {"", "adamw8bit", "ADAMW", "torch.optim.AdamW8bit", "torch.optim.Lion",
                            "paged_paged_adamw", "adafactor", "optim.AdamW"})
    EXPECT_FALSE(optimizer_named(typed).has_value()) << typed;
}

TEST(OptimizerNames, KnownOnesThatAreNotHereAreRefusedByName) {
  for (const char* typed : {"adafactor", "muon", "galore_adamw", "galore_adamw_8bit_layerwise",
                            "lomo", "schedule_free_adamw", "adamw_torch_4bit"}) {
    EXPECT_TRUE(optimizer_refused(typed).has_value()) << typed;
    EXPECT_FALSE(optimizer_named(typed).has_value()) << typed;
  }
  EXPECT_FALSE(optimizer_refused("adamw").has_value());
}

TEST(OptimizerNames, NoSpellingMeansTwoThingsAndEveryRuleExists) {
  std::set<std::string> seen, rules;
  for (const OptimizerRow& row : optimizer_rows()) {
    EXPECT_EQ(row.spellings.front(), row.name.str());
    rules.insert(row.name.rule);
    for (const std::string& spelling : row.spellings)
      EXPECT_TRUE(seen.insert(spelling).second) << spelling;
  }
  const std::vector<std::string> made = Optimizer::names();
  EXPECT_EQ(rules, std::set<std::string>(made.begin(), made.end()));
}

}  // namespace
}  // namespace nibble
