#include "serving/kv/block_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "base/errors.h"
#include "serving/kv/plan.h"

namespace nibble::serving {
namespace {

TEST(BlockPool, GivesAllOrNone) {
  BlockPool pool(5);
  auto three = pool.take(3);
  ASSERT_TRUE(three);
  EXPECT_EQ(pool.free(), 2);
  EXPECT_FALSE(pool.take(3));
  EXPECT_EQ(pool.free(), 2);
  EXPECT_TRUE(pool.take(0));
  EXPECT_TRUE(pool.take(2));  // gone at once: the handles were dropped
  EXPECT_EQ(pool.free(), 2);
}

TEST(BlockPool, NeverGivesTheNullBlockNorOneTwice) {
  BlockPool pool(7);
  auto all = pool.take(7);
  ASSERT_TRUE(all);
  std::set<int32_t> ids;
  for (const Block& b : *all) ids.insert(b.id());
  EXPECT_EQ(ids, (std::set<int32_t>{1, 2, 3, 4, 5, 6, 7}));
}

TEST(BlockPool, HandlesGiveBackWhenTheyGoAndOnlyOnce) {
  BlockPool pool(4);
  auto two = pool.take(2);
  Block kept = std::move((*two)[0]);
  two.reset();
  EXPECT_EQ(pool.used(), 1);
  Block other = std::move(kept);
  EXPECT_EQ(pool.used(), 1);
  other = std::move((*pool.take(1))[0]);
  EXPECT_EQ(pool.used(), 1);
  other = Block();
  EXPECT_EQ(pool.used(), 0);
}

TEST(BlockPool, GivesTheBlockFreedLongestAgoFirst) {
  BlockPool pool(3);
  auto all = pool.take(3);
  all->pop_back();           // 3
  all->erase(all->begin());  // 1, by moves
  const auto next = pool.take(2);
  EXPECT_EQ((*next)[0].id(), 3);
  EXPECT_EQ((*next)[1].id(), 1);
}

TEST(KvPlan, TakesAQuarterOfWhatIsFreeOrWhatIsNeeded) {
  const KvNeeds needs{1000, 16, 160, 4};  // a context: 10 blocks; all: 41 with the null block
  EXPECT_EQ(plan_kv_bytes(needs, 0, 1 << 30), 41000);
  EXPECT_EQ(plan_kv_bytes(needs, 0, 80000), 20000);
  EXPECT_EQ(plan_kv_bytes(needs, 0, 20000), 11000);  // a quarter is too little for one context
  EXPECT_EQ(plan_kv_bytes(needs, 15999, 1), 15000);
}

TEST(KvPlan, RefusesWhatCannotHoldOneRequestAndNamesTheLongestThatFits) {
  const KvNeeds needs{1000, 16, 160, 4};
  for (const int64_t asked : {int64_t{0}, int64_t{9000}}) {
    try {
      plan_kv_bytes(needs, asked, 10000);
      FAIL();
    } catch (const OutOfMemory& e) {
      EXPECT_NE(std::string(e.what()).find("has 128 tokens"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace nibble::serving
