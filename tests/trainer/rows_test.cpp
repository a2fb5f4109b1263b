#include "trainer/rows.h"

#include <set>

#include "tests/support/model_data.h"
#include "trainer/order.h"

namespace nibble {
namespace {

RowReader ids_only(int64_t length = 64) {
  RowReader reader;
  reader.vocab = 100;
  reader.sequence_len = length;
  return reader;
}

Row row_of(std::vector<int32_t> ids) {
  bool cut = false;
  return *ids_only().read(Json{{"input_ids", ids}}, "tokens", "t:1", cut);
}

TEST(Rows, DocumentIdsPartARow) {
  bool cut = false;
  const auto row = ids_only().read(
      parse_json(R"({"input_ids":[1,2,3,4,5],"labels":[-100,2,-100,4,5],"document":[0,0,1,1,1]})",
                 "t"),
      "tokens", "t:1", cut);
  ASSERT_TRUE(row.has_value());
  ASSERT_EQ(row->documents.size(), 2U);
  EXPECT_EQ(row->documents[1].ids, (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(row->targets(), 3);
}

TEST(Rows, ALongRowIsCutAndCountedAndOneWithoutTargetsLeftOut) {
  bool cut = false;
  const Json long_row = parse_json(R"({"input_ids":[1,2,3,4,5],"labels":[-100,2,3,4,5]})", "t");
  EXPECT_EQ(ids_only(3).read(long_row, "tokens", "t:1", cut)->tokens(), 3);
  EXPECT_TRUE(cut);
  const Json late =
      parse_json(R"({"input_ids":[1,2,3,4,5],"labels":[-100,-100,-100,-100,5]})", "t");
  EXPECT_FALSE(ids_only(3).read(late, "tokens", "t:1", cut).has_value());
}

TEST(Rows, PackingKeepsEveryDocumentWholeAndNeverOverfills) {
  std::vector<Row> rows;
  int64_t tokens = 0;
  for (int i = 0; i < 50; ++i) {
    rows.push_back(row_of(std::vector<int32_t>(static_cast<size_t>(2 + (i * 13) % 40), 7)));
    tokens += rows.back().tokens();
  }
  const auto packs = pack_rows(rows, 64);
  int64_t packed = 0;
  size_t documents = 0;
  for (const Row& p : packs) {
    EXPECT_LE(p.tokens(), 64);
    packed += p.tokens();
    documents += p.documents.size();
  }
  EXPECT_EQ(packed, tokens);
  EXPECT_EQ(documents, 50U);
  EXPECT_LT(packs.size(), 20U);  // 1,050 tokens need at least 17 packs of 64
}

TEST(Order, EveryEpochSeesEveryRowOnceInItsOwnOrder) {
  OrderOptions o;
  o.rows = 23;
  o.micro_batch_size = 2;
  o.accumulation = 5;
  o.seed = 3;
  const Order order(o);
  EXPECT_EQ(order.steps_per_epoch(), 3);
  std::vector<std::vector<int64_t>> epochs(2);
  for (int64_t s = 0; s < 6; ++s)
    for (const auto& micro : order.step(s))
      for (int64_t r : micro) epochs[static_cast<size_t>(s / 3)].push_back(r);
  for (const auto& e : epochs) {
    EXPECT_EQ(e.size(), 23U);
    EXPECT_EQ(std::set<int64_t>(e.begin(), e.end()).size(), 23U);
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(Order, FileOrderWithoutShuffle) {
  OrderOptions o;
  o.rows = 5;
  o.micro_batch_size = 2;
  o.accumulation = 2;
  o.shuffle = false;
  const Order order(o);
  EXPECT_EQ(order.step(0), (std::vector<std::vector<int64_t>>{{0, 1}, {2, 3}}));
  EXPECT_EQ(order.step(1), (std::vector<std::vector<int64_t>>{{4}}));
  EXPECT_EQ(order.step(2), order.step(0));
}

TEST(Order, HeldOutRowsAreApartAndTheSameForASeed) {
  const Split2 a = hold_out(40, 6, 1), b = hold_out(40, 6, 1), c = hold_out(40, 6, 2);
  EXPECT_EQ(a.held_out, b.held_out);
  EXPECT_NE(a.held_out, c.held_out);
  EXPECT_EQ(a.held_out.size(), 6U);
  EXPECT_EQ(a.train.size(), 34U);
}

}  // namespace
}  // namespace nibble
